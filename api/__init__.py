"""The HTTP API: queries of PostgreSQL, the live state of the workers, and commands to the log; `python -m api`."""
