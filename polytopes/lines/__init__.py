"""Lines and steps between rows, and the boundaries that they cross."""
