"""Benchmarks, each speed as a ratio to its floor or a peer measured in the same run."""
