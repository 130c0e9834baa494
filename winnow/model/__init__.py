"""A language model under TransformerLens' hook names; needs the packages of the stages."""
