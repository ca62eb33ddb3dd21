"""The commands of `sonarseg`, one module an errand; heavy imports wait until a command runs."""
