"""Picture and mask files: which there are, how each kind is read, what is refused."""
