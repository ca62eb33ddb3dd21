"""How numbers, text, colours and intervals are written."""
