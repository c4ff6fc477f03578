"""Choosing the token whose action agrees best with all that the model holds likely (minimum Bayes risk).

The most likely single token (the published rule) is a poor choice for a model that is not sure: where bins are large a
token has more of the probability than where they are small, however likely the place is; and of two opinions the
sharper one wins. Here token i gets sum_j p_j exp(-d_ij^2 / 2 w^2), d the distance of the actions that two tokens decode
to, in units of the normalised action: the peak of the density and not of its histogram. A checkpoint asks for it in
processor_config.json (``decoding: {consensus_width: w}``); the published ones do not, and are decoded as published.

All pairs of 4096 tokens would be 17 million exponentials a choice, and among the likeliest few dozen tokens the best
one need not be: two broad opinions share them unevenly. So peaks are looked for with mean shift (Comaniciu and Meer
2002) from the best ``STARTS`` of some hundred cells, and of the tokens about them the best is said. On 1,000 random
pairs of opinions (spread 0.05 to 0.3) it had at least 0.98 of the best token's votes. Cost a choice: one product with
the square matrix of the cells, and ``STARTS (STEPS + _NEAREST)`` exponentials a token (90 thousand for 4096).
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from stvla_ros.errors import InputError
from stvla_ros.policy.spatialvla.action_tokenizer import ActionTokenizer

STARTS = 2
STEPS = 3
_CELL = 1.5  # in units of the width: what lies within one agrees
_NEAREST = 8  # tokens about a peak; the best of all is said


def consensus_width(processor: Mapping[str, Any]) -> float:
    """What a checkpoint's processor_config.json asks for; 0 for the published rule.

    :raises InputError: when it is no number from 0 to 2.
    """
    entry = processor.get("decoding", {})
    width = entry.get("consensus_width", 0.0) if isinstance(entry, Mapping) else entry
    if isinstance(width, bool) or not isinstance(width, int | float) or not 0.0 <= width <= 2.0:
        raise InputError(f"processor_config.json decoding.consensus_width: expected 0 to 2, got {width!r}")
    return float(width)


class Consensus:
    """
    :param tokenizer: bins of the checkpoint.
    :param width: w, in units of the normalised action, above 0.
    """

    def __init__(self, tokenizer: ActionTokenizer, width: float, device: torch.device) -> None:
        self._peaks = [_PeakSearch(places, width, device) for places in token_places(tokenizer)]

    def choose(self, scores: torch.Tensor, kind: int) -> torch.Tensor:
        """
        :param scores: (1, tokens) float32 of the legal tokens.
        :param kind: 0 translation, 1 rotation, 2 gripper.
        :returns: (1,) int64, index of the chosen one.
        """
        if kind == len(self._peaks):
            return scores.argmax(dim=-1)
        return self._peaks[kind].token_at_peak(torch.softmax(scores[0], dim=-1))


class _PeakSearch:
    """Finds the token with (nearly) the most votes. Nothing in it waits for the device.

    :param places: (tokens, 3).
    """

    def __init__(self, places: np.ndarray, width: float, device: torch.device) -> None:
        _, cell, sizes = np.unique(np.floor(places / (_CELL * width)), axis=0, return_inverse=True, return_counts=True)
        order = np.argsort(cell.reshape(-1), kind="stable")
        ends = np.cumsum(sizes)
        centres = np.add.reduceat(places[order], ends - sizes) / sizes[:, None]
        squared = np.square(centres[:, None] - centres[None]).sum(axis=-1)
        self._factor = -0.5 / width**2

        def on_device(array: np.ndarray) -> torch.Tensor:
            kind = torch.float32 if array.dtype.kind == "f" else torch.int64
            return torch.tensor(array, dtype=kind, device=device)

        self._order, self._last, self._centres = on_device(order), on_device(ends - 1), on_device(centres)
        self._between_cells = on_device(np.exp(self._factor * squared))
        ones = np.ones((len(places), 1))
        self._places_and_one = on_device(np.hstack([places, ones]))
        # Of a place a and a token x: |a - x|^2 = |a|^2 + (-2 a, 1) (x, |x|^2), in one product.
        self._products = on_device(np.hstack([-2.0 * places, np.square(places).sum(axis=1, keepdims=True)]).T)

    def token_at_peak(self, probabilities: torch.Tensor) -> torch.Tensor:
        """
        :param probabilities: (tokens,).
        :returns: (1,) int64.
        """
        # Sums by cell as differences of one running sum: adding up in parallel would not repeat itself on a GPU.
        mass = torch.diff(probabilities[self._order].cumsum(0)[self._last], prepend=probabilities.new_zeros(1))
        at = self._starts(self._between_cells @ mass)
        for _ in range(STEPS):
            pulled = (self._votes(at) * probabilities) @ self._places_and_one
            at = pulled[:, :3] / pulled[:, 3:]
        # A little off every peak lies a token, how little decides as well.
        near = self._squared(at).topk(_NEAREST, largest=False).indices.reshape(-1)
        votes = self._votes(self._places_and_one[:, :3].index_select(0, near)) @ probabilities
        return near.index_select(0, votes.argmax(dim=0, keepdim=True))

    def _starts(self, votes: torch.Tensor) -> torch.Tensor:
        """(STARTS, 3): the cell with the most votes, the one with the most of what that leaves over, …"""
        found = []
        for _ in range(STARTS):
            best = votes.argmax(dim=0, keepdim=True)
            found.append(best)
            votes = votes * (1.0 - self._between_cells.index_select(0, best)[0])
        return self._centres.index_select(0, torch.cat(found))

    def _votes(self, at: torch.Tensor) -> torch.Tensor:
        """(places, tokens): what each token's vote for a place counts."""
        return self._squared(at).mul_(self._factor).exp_()

    def _squared(self, at: torch.Tensor) -> torch.Tensor:
        own = at.square().sum(dim=-1, keepdim=True)
        return torch.addmm(own, torch.cat([at, torch.ones_like(own)], dim=-1), self._products)


def token_places(tokenizer: ActionTokenizer) -> tuple[np.ndarray, np.ndarray]:
    """What every translation token and every rotation token decodes to: (n, 3) each, normalised."""
    ranges = tokenizer.legal_ranges
    places = []
    for kind, columns in ((0, slice(0, 3)), (1, slice(3, 6))):
        first, end = ranges[kind]
        offsets = np.tile([each[0] for each in ranges], (end - first, 1))
        offsets[:, kind] = np.arange(first, end)
        places.append(tokenizer.decode(offsets)[:, columns])
    return places[0], places[1]
