"""Doors for captioned photographs: every layout leads to one table."""
