"""Rows that are scaled: their intervals, and the clusters that they stay in."""
