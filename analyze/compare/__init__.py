"""Compare two dictionaries of the same activations."""
