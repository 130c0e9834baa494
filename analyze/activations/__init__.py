"""How the activations themselves are distributed."""
