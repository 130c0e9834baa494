"""Files of activations: what a shard holds, and how its bytes are written and read."""
