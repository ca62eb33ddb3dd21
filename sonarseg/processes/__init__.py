"""Worker processes: pools, identity, signals, and the end of a parent."""
