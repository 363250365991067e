"""From weights and captions to candidates."""
