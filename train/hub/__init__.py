"""Pushing dictionaries to the Hugging Face Hub: the card and the upload."""
