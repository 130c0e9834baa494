"""Runs of a model with something changed: one position, or the gates."""
