"""The diffusion transformer that finds the noise in a chunk of actions.

It is CogACT's (arXiv 2411.19650); tokens before the actions in its sequence hold the condition. Attribute names are
those of the published tensors (``action_model.net.*``).
"""

import math

import torch
from torch import nn
from torch.nn import functional as F

_FREQUENCIES = 128
_LONGEST_PERIOD = 10_000.0
# Deviation of the new weights that embed actions, times and conditions.
_DEVIATION = 0.02
DROPPED = 0.1
"""Share of the conditions that are dropped in training. Guidance needs a network that also works without a
condition."""


class Embedder(nn.Module):
    """One linear layer, under the published name."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, width)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return self.linear(values)


class TimeEmbedder(nn.Module):
    """Cosines and sines of the time, then two layers."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(2 * _FREQUENCIES, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, times: torch.Tensor) -> torch.Tensor:
        """(B,) whole numbers to (B, D)."""
        exponents = torch.arange(_FREQUENCIES, dtype=torch.float32, device=times.device) / _FREQUENCIES
        angles = times[:, None].float() * torch.exp(-math.log(_LONGEST_PERIOD) * exponents)
        return self.mlp(torch.cat([angles.cos(), angles.sin()], dim=1).to(self.mlp[0].weight.dtype))


class ConditionEmbedder(nn.Module):
    """The queries' answer, embedded, or the learnt ``uncondition`` in its place."""

    def __init__(self, queries: int, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, width)
        self.uncondition = nn.Parameter(torch.empty(queries, width))

    def forward(self, condition: torch.Tensor, dropped: torch.Tensor | None = None) -> torch.Tensor:
        """
        :param condition: (B, Q, D).
        :param dropped: (B,) bool, True for samples that get no condition.
        """
        if dropped is not None:
            condition = torch.where(dropped[:, None, None], self.uncondition, condition)
        return self.linear(condition)


class Attention(nn.Module):
    """Attention of every token to every other."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self._heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, tokens: torch.Tensor, first: int = 0) -> torch.Tensor:
        """:param first: number of the first token whose answer is wanted."""
        width, weight, bias = tokens.shape[-1], self.qkv.weight, self.qkv.bias
        if first:
            query = F.linear(tokens[:, first:], weight[:width], bias[:width])
            key, value = F.linear(tokens, weight[width:], bias[width:]).chunk(2, dim=-1)
        else:
            query, key, value = self.qkv(tokens).chunk(3, dim=-1)
        heads = (each.unflatten(-1, (self._heads, -1)).transpose(1, 2) for each in (query, key, value))
        seen = F.scaled_dot_product_attention(*heads)
        return self.proj(seen.transpose(1, 2).flatten(2))


class Mlp(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.fc2(F.gelu(self.fc1(tokens), approximate="tanh"))


class Block(nn.Module):
    """A transformer block whose norms come first and have no weights."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attn = Attention(width, heads)
        self.mlp = Mlp(width)

    def forward(self, tokens: torch.Tensor, first: int = 0) -> torch.Tensor:
        """:param first: number of the first token whose answer is wanted."""
        tokens = tokens[:, first:] + self.attn(_norm(tokens), first)
        return tokens + self.mlp(_norm(tokens))


def _norm(tokens: torch.Tensor) -> torch.Tensor:
    return F.layer_norm(tokens, tokens.shape[-1:], eps=1e-6)


class NoisePredictor(nn.Module):
    """
    :param queries: number of tokens of the condition, Q.
    :param chunk: number of actions, T.
    :param width: width D of the transformer.
    :param blocks, heads: shape of the transformer: number of blocks, attention heads of each.
    :param action: number of components of an action.
    """

    def __init__(self, queries: int, chunk: int, width: int, blocks: int, heads: int, action: int = 7) -> None:
        super().__init__()
        self._queries = queries
        self.positional_embedding = nn.Parameter(torch.empty(queries + chunk, width))
        # Unused, here and in the published code; the published checkpoints have its tensors.
        self.history_embedder = Embedder(action, width)
        self.x_embedder = Embedder(action, width)
        self.t_embedder = TimeEmbedder(width)
        self.z_embedder = ConditionEmbedder(queries, width)
        self.blocks = nn.ModuleList([Block(width, heads) for _ in range(blocks)])
        self.final_layer = Embedder(width, action)
        self._initialise()

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
        embedders = (self.history_embedder.linear, self.x_embedder.linear, self.z_embedder.linear)
        for layer in (*embedders, self.t_embedder.mlp[0], self.t_embedder.mlp[2]):
            nn.init.normal_(layer.weight, std=_DEVIATION)
        nn.init.normal_(self.z_embedder.uncondition, std=_DEVIATION)
        nn.init.normal_(self.positional_embedding, std=self.positional_embedding.shape[1] ** -0.5)
        # A new network predicts no noise at all.
        nn.init.zeros_(self.final_layer.linear.weight)

    def forward(self, actions: torch.Tensor, times: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        """
        :param actions: (B, T, 7) actions with noise in them.
        :param times: (B,) whole numbers, 0 to 99.
        :param condition: (B, Q, D) output of the query transformer. In training a tenth of the conditions is dropped.
        :returns: (B, T, 7) the noise.
        """
        dropped = torch.rand(len(condition), device=condition.device) < DROPPED if self.training else None
        return self.predict(actions, self.told(self.t_embedder(times), self.z_embedder(condition, dropped)))

    def told(self, times: torch.Tensor, embedded: torch.Tensor) -> torch.Tensor:
        """The tokens before the actions in the sequence.

        :param times: (..., D) times, embedded by ``t_embedder``.
        :param embedded: (..., Q, D) condition, embedded by ``z_embedder``.
        :returns: (..., Q, D).
        """
        return embedded + times[..., None, :] + self.positional_embedding[: self._queries]

    def predict(self, actions: torch.Tensor, told: torch.Tensor) -> torch.Tensor:
        """As ``forward``. :param told: (B, Q, D) result of ``told``."""
        tokens = torch.cat([told, self.x_embedder(actions) + self.positional_embedding[self._queries :]], dim=1)
        for block in self.blocks[:-1]:
            tokens = block(tokens)
        # What the last block makes of the condition is not used.
        return self.final_layer(_norm(self.blocks[-1](tokens, self._queries)))
