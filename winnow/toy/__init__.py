"""Data with a known answer: rows that are sparse sums of ground-truth directions (Sharkey et al. 2022)."""
