"""Dictionaries of other programs, and the layout that winnow writes: a file for each."""
