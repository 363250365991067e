"""Everything that judges an archive of images."""
