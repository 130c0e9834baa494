"""The experiments, a module each, and their table."""
