"""Whether a results folder still is what it says: its record, what was changed, what is stale, two folders compared."""
