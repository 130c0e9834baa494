"""Dictionaries and shards to metrics and a report."""
