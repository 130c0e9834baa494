"""Text to tokens: text sources, tokenising, packing; the embedded tiny model."""
