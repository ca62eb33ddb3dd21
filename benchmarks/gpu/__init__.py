"""What `gpu_check.py` does: a module for each step, and what they share."""
