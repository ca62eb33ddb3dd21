"""Trials of a study: asked for, run, retried, stopped."""
