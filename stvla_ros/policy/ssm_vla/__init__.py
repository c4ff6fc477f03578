"""A latent action model and a policy after Farsighted-LAM / SSM-VLA (arXiv 2509.26251): ours, no reproduction."""
