"""What the browser gets: HTML, CSS and JavaScript modules, as they are."""
