"""Measure how much of a known truth dictionaries recover, and how fast."""
