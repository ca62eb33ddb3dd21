"""Encoder, classification branch and DeepLabv3 decoder."""
