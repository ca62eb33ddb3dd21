"""What a person reads: the HTML report and the notes that Optuna Dashboard shows."""
