"""Targets of the decoder: pseudo-labels of each round, or masks."""
