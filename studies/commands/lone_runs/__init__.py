"""Runs that a person starts by themselves."""
