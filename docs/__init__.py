"""What is generated from the sources, and what generates it."""
