"""The study record: what the database says of studies and trials, and what follows from it."""
