"""Held-out rows, and how well dictionaries do on them."""
