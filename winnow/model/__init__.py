"""A language model under the names of hooks that TransformerLens gives; needs the packages of the stages."""
