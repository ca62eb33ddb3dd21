"""What one trial of a study does, and what it is worth."""
