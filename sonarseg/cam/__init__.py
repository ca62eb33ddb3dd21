"""Class activation maps: extracted, stored, and turned into hard seeds."""
