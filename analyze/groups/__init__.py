"""Dictionaries of a kind: their seeds, the grid of sizes and sparsities, where training stopped."""
