"""Several runs in one report."""
