"""Files of any room: arrays, text, settings, CSV, metrics; written whole or not at all."""
