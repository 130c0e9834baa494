"""Read dictionaries that other programs saved, and write winnow's: one file per format."""
