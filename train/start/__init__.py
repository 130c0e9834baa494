"""Where a dictionary starts: its first directions, and its bias."""
