"""What Optuna Dashboard shows beside the trials."""
