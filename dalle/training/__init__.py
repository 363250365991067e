"""From data files to weights."""
