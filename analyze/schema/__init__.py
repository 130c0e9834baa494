"""What `metrics.json` holds: every key is declared here once, and every metric has one row."""
