"""Turn dictionaries and shards into metrics and a report."""
