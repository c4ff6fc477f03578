"""The SpatialVLA model: network, tokenizers, statistics and checkpoint files."""
