"""Demonstrations under light that changes from frame to frame. Depth knows nothing of light."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from stvla_ros.learning.datasets.demonstration import Demonstration
from stvla_ros.learning.demonstrations.changed_copy import write_changed_copy

_GAIN = 0.15  # deviation of the logarithm of each colour's gain, anew in each frame
_SHADOWS = 2
_DARK = (0.3, 0.6)  # share of the light that a shadow takes in its middle
_WIDE = (0.1, 0.25)  # deviation of a shadow, in sides of the picture
_SPEED = (0.2, 0.5)  # sides a second


def change_light(rgb: np.ndarray, stamps: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """The pictures of an episode with colours that flicker and soft shadows that move.

    :param rgb: (T, H, W, 3) uint8.
    :param stamps: (T,) nanoseconds.
    :param random: random numbers of the episode.
    :returns: (T, H, W, 3) uint8.
    """
    frames, height, width, _ = rgb.shape
    y, x = np.mgrid[:height, :width] / np.array([height, width])[:, None, None]
    light = np.exp(random.normal(0.0, _GAIN, (frames, 1, 1, 3)))
    for _ in range(_SHADOWS):
        begin, angle, speed = random.uniform(size=2), random.uniform(0, 2 * np.pi), random.uniform(*_SPEED)
        dark, wide = random.uniform(*_DARK), random.uniform(*_WIDE)
        way = begin + speed * np.outer(stamps / 1e9, [np.cos(angle), np.sin(angle)])
        way = 1.0 - np.abs(way % 2.0 - 1.0)  # reflected at the borders
        far = (x - way[:, 0, None, None]) ** 2 + (y - way[:, 1, None, None]) ** 2
        light = light * (1.0 - dark * np.exp(-far / (2.0 * wide**2)))[..., None]
    return np.clip(rgb * light, 0.0, 255.0).round().astype(np.uint8)


def write_in_changing_light(source: Path, output: Path, seed: int) -> None:
    """A copy of a data set in changing light, unless it is there.

    :param source: data set of `stvla record`.
    :param output: folder of the copy.
    :param seed: seed of the light.
    """

    def lit(number: int, episode: Demonstration) -> Demonstration:
        random = np.random.default_rng([seed, number])
        return replace(episode, rgb=change_light(episode.rgb, episode.stamps, random))

    write_changed_copy(source, output, lit)
