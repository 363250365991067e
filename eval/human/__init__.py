"""A/B tasks for people."""
