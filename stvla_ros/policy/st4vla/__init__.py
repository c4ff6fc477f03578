"""ST4VLA (InternVLA-M1): a vision-language model that locates things in pictures, and a diffusion transformer that
acts.
"""
