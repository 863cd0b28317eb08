"""What is remembered: one file a table, with its key, its one writer and its readers."""
