"""What the numbers say: verdict, gains, confirmation, advice; no HTML."""
