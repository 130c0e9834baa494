"""Describe single dictionaries: their baselines, their snapshots, whether they converged."""
