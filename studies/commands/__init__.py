"""The commands of `sonarseg`, one module per command; heavy imports wait until a command runs."""
