"""The winner of a study against the baseline, with new seeds."""
