"""Activation shards -> dictionaries (sparse autoencoders)."""
