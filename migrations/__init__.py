"""Numbered SQL, applied in order and once, and the runner that does it."""
