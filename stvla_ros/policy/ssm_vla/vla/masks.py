"""Which tokens look at which: one transformer, one mask.

Each token has a rank, and sees the tokens of its own rank and of all lower ones:

| rank | tokens |
|---|---|
| 0 | core: words, patches of now and of before |
| 1 | vision queries: the predicted picture |
| 2 … T + 1 | latent queries of keyframe 1 … T |
| T + 2 | action queries |
"""

import torch

CORE, VISION = 0, 1


def ranks(core: int, vision: int, keyframes: int, queries: int, actions: int) -> torch.Tensor:
    """The rank of each token, in their order in the sequence.

    :param core: number of core tokens.
    :param vision: number of vision queries.
    :param keyframes: number of keyframes, T.
    :param queries: number of latent queries of each keyframe, Q.
    :param actions: number of action queries.
    :returns: (core + vision + T Q + actions,) int64.
    """
    latent = torch.arange(keyframes).repeat_interleave(queries) + VISION + 1
    parts = [torch.full((core,), CORE), torch.full((vision,), VISION), latent]
    return torch.cat([*parts, torch.full((actions,), VISION + 1 + keyframes)])


def structured_mask(rank: torch.Tensor) -> torch.Tensor:
    """(L, L) bool, True where the row's token sees the column's. :param rank: (L,) rank of each token."""
    return rank[None, :] <= rank[:, None]


def padded_mask(mask: torch.Tensor, spoken: torch.Tensor) -> torch.Tensor:
    """The mask of a batch of instructions of different length: nothing looks at the padding.

    :param mask: (L, L) bool, the words first.
    :param spoken: (B, N) bool, which of the N words there are; the first of each.
    :returns: (B, 1, L, L) bool.
    """
    others = torch.ones(len(spoken), mask.shape[0] - spoken.shape[1], dtype=torch.bool, device=spoken.device)
    there = torch.cat([spoken, others], dim=1)
    return (mask[None] & there[:, None])[:, None]
