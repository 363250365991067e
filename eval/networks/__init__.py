"""The networks of the protocols: where their weights come from, how they are built, what they give."""
