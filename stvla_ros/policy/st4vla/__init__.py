"""ST4VLA (InternVLA-M1): a vision-language model that knows where things are, and a diffusion transformer that acts."""
