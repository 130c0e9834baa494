"""Declare every key of the results in RUN/polytopes; docs/guide/polytopes.md says what they mean."""
