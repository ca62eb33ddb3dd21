"""The class id of pixels to which no class is given: in masks, pseudo-labels, losses and scores."""

IGNORE = 255
