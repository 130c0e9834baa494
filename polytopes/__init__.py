"""The polytopes of a language model: what its layers' codes, maps and boundaries look like on text."""
