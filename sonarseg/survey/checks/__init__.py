"""What `sonarseg check` looks at and counts."""
