"""SigLIP's picture encoder (arXiv 2303.15343), without its head. gemma.py says why it is not taken from a library."""

import math
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint
from transformers import SiglipVisionConfig

from stvla_ros.policy.attention import attend
from stvla_ros.policy.spatialvla.merged_weights import merge_weights

# Arguments: the sum, the part's output that is added to it, weight and bias of the norm. Results: the new sum, and the
# new sum normalised.
Join = Callable[[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]


def add_and_norm(
    hidden: torch.Tensor, part: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, eps: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """See ``Join``. It takes tensors alone, so that a compiler can take it."""
    hidden = hidden + part
    return hidden, F.layer_norm(hidden, weight.shape, weight, bias, eps)


class PatchEmbedding(nn.Conv2d):
    """A convolution whose stride equals its kernel is a matrix product, and faster as one: on a CPU, and for its
    gradient everywhere.
    """

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """(B, 3, S, S) to (B, P, E), patches row by row."""
        size = self.kernel_size[0]
        batch, colours, side, _ = pixels.shape
        patches = pixels.reshape(batch, colours, side // size, size, side // size, size)
        patches = patches.permute(0, 2, 4, 1, 3, 5).reshape(batch, (side // size) ** 2, -1)
        return F.linear(patches, self.weight.flatten(1), self.bias)


class Embeddings(nn.Module):
    def __init__(self, config: SiglipVisionConfig) -> None:
        super().__init__()
        width, patch = config.hidden_size, config.patch_size
        self.patch_embedding = PatchEmbedding(config.num_channels, width, patch, stride=patch)
        self.position_embedding = nn.Embedding((config.image_size // patch) ** 2, width)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.patch_embedding(pixels) + self.position_embedding.weight


class PictureAttention(nn.Module):
    def __init__(self, config: SiglipVisionConfig) -> None:
        super().__init__()
        self._heads, width = config.num_attention_heads, config.hidden_size
        self.q_proj, self.k_proj, self.v_proj, self.out_proj = (nn.Linear(width, width) for _ in range(4))
        self._merged: tuple[torch.Tensor, torch.Tensor] | None = None

    def merge_projections(self) -> None:
        """Compute queries, keys and values by one product. The weights must not change afterwards."""
        layers = (self.q_proj, self.k_proj, self.v_proj)
        self._merged = merge_weights(layers), torch.cat([layer.bias.data for layer in layers])

    def _apply(self, *given, **named) -> nn.Module:
        self._merged = None  # another type or device
        return super()._apply(*given, **named)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        # Adapters that were added since are not part of the merged weights.
        plain = all(type(layer) is nn.Linear for layer in (self.q_proj, self.k_proj, self.v_proj))
        if self._merged is not None and plain:
            projected = F.linear(x, *self._merged).chunk(3, dim=-1)
        else:
            projected = (self.q_proj(x), self.k_proj(x), self.v_proj(x))
        queries, keys, values = (each.unflatten(-1, (self._heads, -1)).transpose(1, 2) for each in projected)
        return self.out_proj(attend(queries, keys, values).transpose(1, 2).flatten(2))


class EncoderMlp(nn.Module):
    def __init__(self, config: SiglipVisionConfig) -> None:
        super().__init__()
        self.fc1 = nn.Linear(config.hidden_size, config.intermediate_size)
        self.fc2 = nn.Linear(config.intermediate_size, config.hidden_size)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc2(F.gelu(self.fc1(x), approximate="tanh"))


class EncoderLayer(nn.Module):
    def __init__(self, config: SiglipVisionConfig) -> None:
        super().__init__()
        self.layer_norm1 = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.self_attn = PictureAttention(config)
        self.layer_norm2 = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.mlp = EncoderMlp(config)

    def forward(
        self, hidden: torch.Tensor, normed: torch.Tensor | None, following: nn.LayerNorm, join: Join
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """
        :param hidden: (B, P, E).
        :param normed: ``hidden`` normalised by this layer's first norm; None if that is not done yet.
        :param following: norm that comes after this layer.
        :returns: the same two tensors for the next layer.
        """
        if normed is None:
            normed = self.layer_norm1(hidden)
        hidden, normed = join(hidden, self.self_attn(normed), self.layer_norm2.weight, self.layer_norm2.bias)
        return join(hidden, self.mlp(normed), following.weight, following.bias)


class Encoder(nn.Module):
    def __init__(self, config: SiglipVisionConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList(EncoderLayer(config) for _ in range(config.num_hidden_layers))


class PictureEncoder(nn.Module):
    """Encodes B pictures of S pixels a side; P patches, E = width."""

    def __init__(self, config: SiglipVisionConfig) -> None:
        super().__init__()
        self.embeddings = Embeddings(config)
        self.encoder = Encoder(config)
        self.post_layernorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.join: Join = partial(add_and_norm, eps=config.layer_norm_eps)
        self.gradient_checkpointing = False
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
        # As its authors do: variance 1 / inputs for the patches, 1 / width for the positions.
        patches, places = self.embeddings.patch_embedding, self.embeddings.position_embedding
        nn.init.trunc_normal_(patches.weight, std=math.sqrt(1 / patches.weight[0].numel()))
        nn.init.zeros_(patches.bias)
        nn.init.normal_(places.weight, std=config.hidden_size**-0.5)

    def merge_projections(self) -> None:
        """See ``PictureAttention.merge_projections``."""
        for layer in self.encoder.layers:
            layer.self_attn.merge_projections()

    def forward(self, pixels: torch.Tensor, join: Join | None = None) -> torch.Tensor:
        """(B, 3, S, S), normalised, to (B, P, E).

        :param join: ``self.join`` in compiled form; None for the plain function.
        """
        join = join or self.join
        hidden, normed = self.embeddings(pixels), None
        layers = list(self.encoder.layers)
        norms = [*(layer.layer_norm1 for layer in layers[1:]), self.post_layernorm]
        for layer, following in zip(layers, norms, strict=True):
            if self.gradient_checkpointing and torch.is_grad_enabled():
                # Each layer normalises anew, so only its input has to be kept.
                hidden, normed = checkpoint(layer, hidden, None, following, join, use_reentrant=False)
            else:
                hidden, normed = layer(hidden, normed, following, join)
        return normed
