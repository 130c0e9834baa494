"""What a step does with sparse latents, in torch and, on a GPU, in Triton."""
