"""Surveys made from other layouts: masks and tables of labels."""
