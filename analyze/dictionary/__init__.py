"""One dictionary by itself: its baselines, its snapshots, whether it had converged."""
