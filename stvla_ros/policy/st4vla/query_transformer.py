"""The query transformer between the vision-language model and the action expert.

Learnt queries read the language model's states one after the other. Attribute names are those of the published tensors
(``layer_qformer.*``).
"""

from collections.abc import Sequence

import torch
from torch import nn

_DROPOUT = 0.1


class QueryBlock(nn.Module):
    """Cross-attention of the normalised queries to keys and values that are not normalised."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.cross_attn = nn.MultiheadAttention(width, heads, dropout=_DROPOUT, batch_first=True)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        self.dropout = nn.Dropout(_DROPOUT)

    def forward(self, queries: torch.Tensor, seen: torch.Tensor, hidden: torch.Tensor | None) -> torch.Tensor:
        asked = self.norm1(queries)
        answer, _ = self.cross_attn(asked, seen, seen, key_padding_mask=hidden, need_weights=False)
        queries = queries + answer
        return queries + self.dropout(self.mlp(self.norm2(queries)))


class QueryTransformer(nn.Module):
    """
    :param inputs: width of the states that are read.
    :param width: width D of the queries.
    :param queries: number Q of queries.
    :param states: number of states that are read, one block for each.
    :param heads: number of attention heads of each block.
    """

    def __init__(self, inputs: int, width: int, queries: int, states: int, heads: int) -> None:
        super().__init__()
        self.proj = nn.Linear(inputs, width)
        self.query_tokens = nn.Parameter(torch.randn(queries, width))
        self.layers = nn.ModuleList([QueryBlock(width, heads) for _ in range(states)])

    def forward(self, states: Sequence[torch.Tensor], visible: torch.Tensor | None = None) -> torch.Tensor:
        """
        :param states: states, each (B, L, inputs), as many as there are blocks.
        :param visible: (B, L) bool, False at places that the queries must not read; None for all visible.
        :returns: (B, Q, D) answers of the queries.
        """
        queries = self.query_tokens.expand(len(states[0]), -1, -1)
        hidden = None if visible is None else ~visible
        for block, state in zip(self.layers, states, strict=True):
            queries = block(queries, self.proj(state), hidden)
        return queries
