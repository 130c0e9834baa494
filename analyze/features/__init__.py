"""Write feature pages: a browser for latents, made of files that open from disk."""
