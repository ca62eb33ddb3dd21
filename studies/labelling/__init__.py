"""The labelling page: classes and masks of a survey's tiles, made in a browser on this machine."""
