"""Token ids of several texts in one batch."""

from collections.abc import Sequence

import numpy as np
import torch


def padded(texts: Sequence[np.ndarray]) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids and mask, (B, L) each. The padding is at the left, as Qwen's processor pads, with id and mask 0."""
    longest = max(map(len, texts))
    ids, mask = (torch.zeros(len(texts), longest, dtype=torch.int64) for _ in range(2))
    for row, text in enumerate(texts):
        ids[row, longest - len(text) :], mask[row, longest - len(text) :] = torch.from_numpy(text), 1
    return ids, mask
