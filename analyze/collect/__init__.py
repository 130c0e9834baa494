"""Gather everything that metrics.json holds."""
