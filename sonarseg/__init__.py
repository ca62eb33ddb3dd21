"""Segmentation of side-scan sonar tiles from image-level labels."""

__version__ = "0.1.0"
