"""Text-to-image systems: from weights and a caption to a picture."""
