"""Checkpoints: written whole, checked when read, and the model that they hold."""
