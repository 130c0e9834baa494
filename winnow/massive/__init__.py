"""Massive rows: which they are, what they do, and the rows that are left without them."""
