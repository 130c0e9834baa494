"""Describe how the activations themselves are distributed."""
