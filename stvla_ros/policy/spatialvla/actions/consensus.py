"""Choosing, among the likeliest tokens, the one whose action agrees best with the others (minimum Bayes risk).

The most likely single token (the published rule) is a poor choice for a model that is not sure: where bins are large a
token has more of the probability than where they are small, however likely the place is; and of two opinions the
sharper one wins. Here token i gets sum_j p_j exp(-d_ij^2 / 2 w^2), d the distance of the actions that two tokens decode
to, in units of the normalised action: the peak of the density and not of its histogram. A checkpoint asks for it in
processor_config.json (``decoding: {consensus_width: w}``); the published ones do not, and are decoded as published.

Only the ``CANDIDATES`` likeliest vote. That is not to save time: the small policy spreads half of its probability for
a translation and nine tenths for a rotation over the thousands of tokens behind them, and their votes pull every answer
towards the middle of the range. With the votes of all (found exactly, by mean shift) it solved 1 of 8 random
stack_cube episodes in place of 7, and no narrower width mends that (0.1: 1, 0.05: 2).

Cost: a selection of the best ``CANDIDATES`` of 4096 scores, and that number squared of exponentials.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from stvla_ros.errors import InputError
from stvla_ros.policy.spatialvla.actions.action_tokenizer import ActionTokenizer

CANDIDATES = 64


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
        self._factor = -0.5 / width**2
        self._places = [torch.tensor(places, dtype=torch.float32, device=device) for places in token_places(tokenizer)]

    def choose(self, scores: torch.Tensor, kind: int) -> torch.Tensor:
        """
        :param scores: (1, tokens) float32 of the legal tokens.
        :param kind: 0 translation, 1 rotation, 2 gripper.
        :returns: (1,) int64, index of the chosen one.
        """
        if kind == len(self._places):
            return scores.argmax(dim=-1)
        best = scores[0].topk(min(CANDIDATES, scores.shape[-1]))
        places = self._places[kind].index_select(0, best.indices)
        squared = (places[:, None] - places[None]).square().sum(dim=-1)
        votes = (squared * self._factor).exp() @ torch.softmax(best.values, dim=-1)
        return best.indices[votes.argmax(dim=-1, keepdim=True)]


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
