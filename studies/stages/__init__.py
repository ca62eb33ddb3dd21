"""The stages of a study in order: warm-up, crf study, loss study."""
