"""The stages of a study in order: cam study, warm-up, crf study, loss study."""
