"""Two dictionaries of the same activations, compared."""
