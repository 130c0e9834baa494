"""A step's work on sparse latents, in torch and, on a GPU, in Triton."""
