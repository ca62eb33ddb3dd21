"""Splits of a survey: drawn by strips, written as lists."""
