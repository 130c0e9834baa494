"""How much of a known truth dictionaries found, and how fast."""
