"""Losses: cross-entropy, focal and Lovász-Softmax over pixels, multi-label soft margin over tiles."""
