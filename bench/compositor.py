"""Milliseconds of the compositor per frame: 640x480 depth, 100 traces of 30 vertices, every variant.

Cost: see ``stvla_ros/perception/compositor.py``; well under 2 ms.
"""

import time
from typing import Any

import numpy as np

from stvla_ros.perception.compositor import VARIANTS, Compositor, CompositorConfig
from stvla_ros.perception.types import Traces

STEPS = 300
FRAMES, POINTS = 30, 100


def rows() -> list[dict[str, Any]]:
    """One row per variant."""
    generator = np.random.default_rng(0)
    depth = generator.uniform(0.3, 1.5, (480, 640)).astype(np.float32)
    start = generator.uniform((50, 50), (590, 430), (1, POINTS, 2))
    walk = np.cumsum(generator.normal(0, 6, (STEPS + FRAMES, POINTS, 2)), axis=0)
    points = np.clip(start + walk, 0, (639, 479)).astype(np.float32)
    visible, ids = np.ones((FRAMES, POINTS), bool), np.arange(POINTS, dtype=np.uint32)
    result = []
    for variant in VARIANTS:
        compositor = Compositor(CompositorConfig(variant=variant))
        milliseconds = []
        for step in range(STEPS):
            stamps = np.arange(step, step + FRAMES, dtype=np.int64)
            traces = Traces(points[step : step + FRAMES], visible, ids, stamps, (640, 480))
            started = time.perf_counter()
            compositor.step(traces, depth)
            milliseconds.append((time.perf_counter() - started) * 1e3)
        p50, p99 = np.percentile(milliseconds[FRAMES:], (50, 99))
        result.append({"what": f"compositor, variant {variant}", "p50_ms": p50, "p99_ms": p99, "target": "<= 2 ms"})
    return result


if __name__ == "__main__":
    for row in rows():
        print(row)
