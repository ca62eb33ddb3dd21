"""Files of a run folder: configuration, record, summary, lock."""
