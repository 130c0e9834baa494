"""Shards of activations: their layout, manifest and statistics, and reading and writing their bytes."""
