"""The noise that is added to actions in training and taken away by the sampler.

100 steps. The share of the actions that is left after step t is ᾱ(t), whose factors follow a squared cosine (Nichol and
Dhariwal, arXiv 2102.09672, eq. 17, each factor at least .001). The sampler is DDIM without noise of its own (Song et
al., arXiv 2010.02502, eq. 12 with sigma 0).
"""

import math
from collections.abc import Callable
from functools import cache

import numpy as np
import torch

from stvla_ros.policy.st4vla.denoising_steps import STEPS, step_times

_OFFSET, _LARGEST_BETA = 0.008, 0.999


@cache
def remaining() -> np.ndarray:
    """(``STEPS``,) float64: ᾱ(t), the share of the actions' variance that is left after step t."""

    def left(share: float) -> float:
        return math.cos((share + _OFFSET) / (1 + _OFFSET) * math.pi / 2) ** 2

    betas = [min(1 - left((t + 1) / STEPS) / left(t / STEPS), _LARGEST_BETA) for t in range(STEPS)]
    table = np.cumprod(1.0 - np.array(betas))
    table.setflags(write=False)
    return table


def add_noise(actions: torch.Tensor, noise: torch.Tensor, times: torch.Tensor) -> torch.Tensor:
    """The actions with the noise that they have at given times.

    :param actions: (B, T, 7) normalised.
    :param noise: (B, T, 7), of a standard normal distribution.
    :param times: (B,) times, whole numbers from 0 to ``STEPS`` - 1.
    """
    left = torch.from_numpy(remaining().copy()).to(actions.device)[times][:, None, None]
    return left.sqrt().to(actions.dtype) * actions + (1 - left).sqrt().to(actions.dtype) * noise


def denoise(noise: torch.Tensor, steps: int, predict: Callable[[torch.Tensor, int], torch.Tensor]) -> torch.Tensor:
    """Sample actions, beginning with noise.

    :param noise: (B, T, 7), of a standard normal distribution.
    :param steps: number of steps, one of ``sampler_steps``.
    :param predict: function from actions (B, T, 7) and a time to the noise in them, (B, T, 7).
    :returns: (B, T, 7) normalised actions; nothing is clipped.
    :raises InputError: for a number of steps that the sampler cannot take.
    """
    times = step_times(steps)
    left = remaining()
    actions = noise
    for time, following in zip(times, (*times[1:], None), strict=True):
        now, then = float(left[time]), 1.0 if following is None else float(left[following])
        found = predict(actions, time)
        clean = math.sqrt(1 / now) * actions - math.sqrt(1 / now - 1) * found
        actions = math.sqrt(then) * clean + math.sqrt(1 - then) * found
    return actions
