"""Demonstrations of random content, and how to compare two."""

from dataclasses import fields
from typing import Any

import numpy as np

from stvla_ros.learning.datasets.demonstration import Demonstration


def make_demonstration(
    seed: int = 0, frames: int = 5, size: tuple[int, int] = (32, 24), **changes: Any
) -> Demonstration:
    """Every part is there and random.

    :param size: width, height.
    :param changes: parts to replace.
    """
    random = np.random.default_rng(seed)
    width, height = size

    def numbers(*shape: int) -> np.ndarray:
        return random.normal(size=shape).astype(np.float32)

    parts: dict[str, Any] = {
        "rgb": random.integers(0, 256, (frames, height, width, 3), np.uint8),
        "depth": random.integers(0, 65536, (frames, height, width), np.uint16),
        "intrinsics": np.array([[30.1, 0, 15.5], [0, 30.2, 11.5], [0, 0, 1]]) + random.normal() * np.eye(3),
        "stamps": np.cumsum(random.integers(1, 10**9, frames)) - 1,
        "action": numbers(frames, 7),
        "instruction": f"put the cube on number {seed % 3}",
        "fps": 5.0,
        "success": bool(seed % 2),
        "executed_action": numbers(frames, 7),
        "state": numbers(frames, 7),
        "scene_points": numbers(frames, 3, 3),
        "source": {"task": "stack_cube", "seed": seed},
    }
    return Demonstration(**{**parts, **changes})


def smooth_pictures(frames: int, size: tuple[int, int] = (64, 48)) -> np.ndarray:
    """(frames, H, W, 3) uint8 that a video codec keeps nearly as they are, and each brighter than the one before."""
    width, height = size
    across = np.linspace(0, 100, width)[None, :] + np.linspace(0, 60, height)[:, None]
    return np.stack([np.repeat((across + 80 * t / frames)[..., None], 3, 2).astype(np.uint8) for t in range(frames)])


def differing_parts(one: Demonstration, other: Demonstration) -> list[str]:
    """Names of the parts that are not the same bit for bit, or not of the same type."""

    def same(a: Any, b: Any) -> bool:
        if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
            return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
        return type(a) is type(b) and a == b

    return [part.name for part in fields(one) if not same(getattr(one, part.name), getattr(other, part.name))]
