"""Picture rows of the report and pictures of trials."""
