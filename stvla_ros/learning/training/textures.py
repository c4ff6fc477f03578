"""Pictures of nothing: stripes, checks, grain and clouds of all colours, for the augmentation.

They are drawn once in a process (``COUNT`` pictures of 224 x 224 take 9.6 MB), since drawing one takes as long as all
other changes of a picture.
"""

from functools import lru_cache

import cv2
import numpy as np

COUNT = 64
_COARSEST, _FINEST = 4, 64  # cells along a side


@lru_cache(maxsize=2)
def textures(size: int) -> np.ndarray:
    """The same ones in every process.

    :param size: height and width in pixels.
    :returns: (COUNT, size, size, 3) uint8.
    """
    random = np.random.default_rng(0)
    return np.stack([_texture(size, number, random) for number in range(COUNT)])


def _texture(size: int, number: int, random: np.random.Generator) -> np.ndarray:
    kind = (_stripes, _checks, _grain, _clouds)[number % 4]
    weight = kind(size, random)[..., None]
    one, other = random.uniform(0.0, 255.0, (2, 3))
    return (weight * one + (1.0 - weight) * other).round().astype(np.uint8)


def _stripes(size: int, random: np.random.Generator) -> np.ndarray:
    """(size, size) in 0..1: waves along a direction, bent by another wave, as in wood."""
    y, x = np.mgrid[:size, :size] / size
    angle, waves, bend = random.uniform(0.0, np.pi), random.uniform(4.0, 40.0), random.uniform(0.0, 2.0)
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    bent = waves * along + bend * np.sin(2.0 * np.pi * across)
    stripes: np.ndarray = 0.5 + 0.5 * np.sin(2.0 * np.pi * bent)
    return stripes


def _checks(size: int, random: np.random.Generator) -> np.ndarray:
    """(size, size) of 0 and 1: a chequered cloth."""
    cells = np.arange(size) * int(random.integers(_COARSEST, _FINEST // 4)) // size
    return ((cells[:, None] + cells[None, :]) % 2).astype(np.float64)


def _grain(size: int, random: np.random.Generator) -> np.ndarray:
    """(size, size) in 0..1: cells without a pattern."""
    cells = random.uniform(0.0, 1.0, (int(random.integers(_FINEST // 4, _FINEST)),) * 2)
    grain: np.ndarray = cv2.resize(cells, (size, size), interpolation=cv2.INTER_NEAREST)
    return grain


def _clouds(size: int, random: np.random.Generator) -> np.ndarray:
    """(size, size) in 0..1: coarse noise with finer noise on it."""
    clouds, cells, height = np.zeros((size, size)), _COARSEST, 0.5
    while cells <= _FINEST:
        noise = random.uniform(0.0, 1.0, (cells, cells))
        clouds += height * cv2.resize(noise, (size, size), interpolation=cv2.INTER_LINEAR)
        cells, height = 2 * cells, height / 2
    return clouds
