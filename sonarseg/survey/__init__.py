"""A survey on disk: tiles, classes, image-level labels, masks and splits."""
