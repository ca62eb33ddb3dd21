"""Where the studies live: one SQLite file, or a PostgreSQL server."""
