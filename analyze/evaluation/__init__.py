"""Measure dictionaries on held-out rows."""
