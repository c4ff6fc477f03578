"""The blocks of all parts of the family: pre-norm transformer blocks, with sines as positions."""

import math

import torch
from torch import nn
from torch.nn import functional as F

from stvla_ros.policy.attention import attend

_LONGEST_WAVE = 10_000.0


class TokenAttention(nn.Module):
    """Queries, keys and values without bias, from the normalised tokens.

    :param width: width of the tokens.
    :param heads: heads of the attention.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self._heads = heads
        self.norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width)

    def forward(self, tokens: torch.Tensor, mask: torch.Tensor | None = None, first: int = 0) -> torch.Tensor:
        """The attention's output for tokens (N, L, D), to be added to them.

        :param mask: mask as in ``attend``; or numbers that are added to the scores, for torch's own attention, which is
            faster for one observation without gradients (`python -m bench policy_ssm_vla`).
        :param first: number of the first token that looks; those before it are only looked at, and left out.
        :returns: (N, L - first, D).
        """
        normed = self.norm(tokens)
        if first:
            width = tokens.shape[-1]
            looking = F.linear(normed[:, first:], self.qkv.weight[:width])
            parts = (looking, *F.linear(normed, self.qkv.weight[width:]).chunk(2, dim=-1))
            mask = None if mask is None else mask[..., first:, :]
        else:
            parts = self.qkv(normed).chunk(3, dim=-1)
        queries, keys, values = (part.unflatten(-1, (self._heads, -1)).transpose(1, 2) for part in parts)
        if mask is not None and mask.is_floating_point():
            looked = F.scaled_dot_product_attention(queries, keys, values, mask)
        else:
            looked = attend(queries, keys, values, mask)
        return self.out(looked.transpose(1, 2).flatten(2))


class TokenMlp(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.wide = nn.Linear(width, 4 * width)
        self.out = nn.Linear(4 * width, width)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.out(F.gelu(self.wide(self.norm(tokens))))


class SpaceTimeBlock(nn.Module):
    """Attention among a frame's tokens; over the frames, token by token; MLP."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.space, self.time, self.mlp = TokenAttention(width, heads), TokenAttention(width, heads), TokenMlp(width)

    def forward(self, tokens: torch.Tensor, times: torch.Tensor) -> torch.Tensor:
        """
        :param tokens: (B, F, L, D) of F frames.
        :param times: (B, F, F) bool: which frames the tokens of each may look at.
        """
        batch, frames, length, _ = tokens.shape
        tokens = tokens + self.space(tokens.flatten(0, 1)).unflatten(0, (batch, frames))
        over = tokens.transpose(1, 2).flatten(0, 1)
        looked = self.time(over, times.repeat_interleave(length, dim=0)[:, None])
        tokens = tokens + looked.unflatten(0, (batch, length)).transpose(1, 2)
        return tokens + self.mlp(tokens)


class SpaceBlock(nn.Module):
    """Attention among all tokens, or among those that a mask allows; MLP."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.space, self.mlp = TokenAttention(width, heads), TokenMlp(width)

    def forward(self, tokens: torch.Tensor, mask: torch.Tensor | None = None, first: int = 0) -> torch.Tensor:
        """(N, L, D) to (N, L - first, D); the parameters are as in ``TokenAttention.forward``."""
        tokens = tokens[:, first:] + self.space(tokens, mask, first)
        return tokens + self.mlp(tokens)


class Entrance(nn.Module):
    """Norm, linear layer, norm, fixed positions: from tokens of any width to those of the blocks.

    :param inputs: width of the tokens.
    :param width: width of the blocks.
    :param length: number of tokens at a time, L.
    """

    def __init__(self, inputs: int, width: int, length: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(inputs)
        self.linear = nn.Linear(inputs, width)
        self.normed = nn.LayerNorm(width)
        self.register_buffer("positions", waves(length, width), persistent=False)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """(…, L, inputs) to (…, L, width)."""
        return self.normed(self.linear(self.norm(tokens))) + self.positions


def waves(length: int, width: int) -> torch.Tensor:
    """Sines and cosines of the places (arXiv 1706.03762), (length, width) float32."""
    rates = torch.exp(torch.arange(0, width, 2, dtype=torch.float32) * (-math.log(_LONGEST_WAVE) / width))
    angles = torch.arange(length, dtype=torch.float32)[:, None] * rates
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)


def initialise(module: nn.Module) -> None:
    """Every linear layer below: Xavier's uniform weights, no bias."""
    for part in module.modules():
        if isinstance(part, nn.Linear):
            nn.init.xavier_uniform_(part.weight)
            if part.bias is not None:
                nn.init.zeros_(part.bias)
