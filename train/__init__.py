"""Activation shards to dictionaries: sparse autoencoders, a sweep in one pass."""
