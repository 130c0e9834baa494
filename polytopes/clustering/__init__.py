"""Group rows, and tell whether the groups mean anything."""
