"""Summarise groups of dictionaries: over seeds, over a grid of sizes and sparsities, and at the end of training."""
