"""Templates, style sheet and script of the report; a package so that they are installed with it."""
