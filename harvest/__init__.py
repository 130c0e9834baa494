"""Tokens to activation shards: one forward pass for every hook."""
