"""Small scenes for the compositor, and a painter of its lines in plain loops."""

import dataclasses

import numpy as np
from hypothesis import strategies as st

from stvla_ros.perception.compositor import (
    Compositor,
    CompositorConfig,
)
from stvla_ros.perception.types import Traces

SIZE = 32
WIDTH, HEIGHT = 64, 48
ROW = 13  # of the map, where the picture's row 20 lies


def make_traces(points, visible=None, stamps=None, ids=None, image_size=(WIDTH, HEIGHT)) -> Traces:
    points = np.asarray(points, np.float32)
    frames, count = points.shape[:2]
    return Traces(
        points,
        np.ones((frames, count), bool) if visible is None else np.asarray(visible, bool),
        np.arange(count, dtype=np.uint32) if ids is None else np.asarray(ids, np.uint32),
        np.arange(frames, dtype=np.int64) if stamps is None else np.asarray(stamps, np.int64),
        image_size,
    )


def on_map(traces: Traces) -> np.ndarray:
    return (traces.points + 0.5) * np.divide(SIZE, traces.image_size) - 0.5


def compositor(variant: str, **settings) -> Compositor:
    return Compositor(CompositorConfig(variant=variant, size=SIZE, **settings))


def play(drawing: Compositor, traces: Traces, maps: list[np.ndarray]) -> np.ndarray:
    """Step through the episode that ends in ``traces``: each frame with the part of the traces that it had seen."""
    for frame, depth in enumerate(maps, start=1):
        part = slice(0, frame)
        out = drawing.step(
            dataclasses.replace(
                traces, points=traces.points[part], visible=traces.visible[part], frame_stamps=traces.frame_stamps[part]
            ),
            depth,
        )
    return out


@st.composite
def scenes(draw: st.DrawFn) -> tuple[Traces, list[np.ndarray]]:
    """An episode: traces that may be unseen, outside of the picture or NaN, and one depth map with holes a frame."""
    frames, count = draw(st.integers(1, 5)), draw(st.integers(0, 4))
    seed = draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    points = rng.uniform([-10, -10], [WIDTH + 10, HEIGHT + 10], (frames, count, 2))
    visible = rng.random((frames, count)) < draw(st.sampled_from([0.3, 0.8, 1.0]))
    points[~visible & (rng.random((frames, count)) < 0.5)] = np.nan
    maps = []
    for _ in range(frames):
        depth = rng.uniform(0.2, 3, (HEIGHT, WIDTH)).astype(np.float32)
        holes = rng.random((HEIGHT, WIDTH)) < draw(st.sampled_from([0.0, 0.3, 1.0]))
        depth[holes] = rng.choice([0, np.nan, np.inf, -np.inf, -1], holes.sum())
        maps.append(depth)
    return make_traces(points, visible), maps


def painted(traces: Traces, depths: np.ndarray, width: int) -> np.ndarray:
    """An oracle in plain loops: a disc at each sample of each line, the nearest depth wins; +Inf where nothing is."""
    canvas = np.full((SIZE, SIZE), np.inf)
    points, size = on_map(traces), np.array(traces.image_size)
    seen = traces.visible & ((traces.points >= -0.5) & (traces.points < size - 0.5)).all(axis=-1)
    for n in range(points.shape[1]):
        for t in range(len(points) - 1):
            if not (seen[t, n] and seen[t + 1, n] and depths[t, n] > 0):
                continue
            steps = max(1, int(np.ceil(np.abs(points[t + 1, n] - points[t, n]).max())))
            for share in np.arange(steps + 1) / steps:
                x, y = np.floor(points[t, n] + share * (points[t + 1, n] - points[t, n]) + 0.5).astype(int)
                z = depths[t, n] + share * (depths[t + 1, n] - depths[t, n])
                for dy in range(-width, width + 1):
                    for dx in range(-width, width + 1):
                        inside = 0 <= y + dy < SIZE and 0 <= x + dx < SIZE
                        if inside and np.hypot(dx, dy) <= width / 2:
                            canvas[y + dy, x + dx] = min(canvas[y + dy, x + dx], z)
    return canvas
