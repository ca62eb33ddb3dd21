"""The page: built from its sections, rendered, printed."""
