"""A workspace as a whole: its facts in a few words, and what to do next."""
