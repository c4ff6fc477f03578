"""Traces as planes of numbers beside the depth, instead of lines drawn over it: pure functions.

A cell is a square of the picture, as large as those over which SpatialVLA averages the depth. A stroke is the line from
a trace's vertex to the next one that was seen. Pixels here are SpatialVLA's (policy/spatialvla/ego3d.py): the picture
covers [0, S), and intrinsics scale by plain multiplication. Camera frames are optical frames (REP-103): x right, y
down, z forward, metres; the camera counts as fixed, so earlier points are in the frame of its present pose.
"""

import cv2
import numpy as np

from stvla_ros.errors import InputError
from stvla_ros.perception.compositor import interpolate_columns
from stvla_ros.perception.point_depths import seen_inside
from stvla_ros.perception.types import TracesInDepth

SHARE, AGE, MOTION = 0, 1, slice(2, 5)
"""The numbers of a cell: the share of it that is drawn, the newest stroke's age in seconds, and its motion in
metres."""
CELL_NUMBERS = 5
LINE_WIDTH = 3
"""Width of strokes in pixels of the picture of 224x224. They hide nothing, because they are not drawn over the
depth."""

_FRACTION_BITS = 4


def trace_vertices(given: TracesInDepth, size: int) -> np.ndarray:
    """
    :param given: traces in a picture of any size; the two axes are scaled independently.
    :param size: side S of the square picture, pixels.
    :returns: (T, N, 4) float32: x and y in pixels of the square picture, NaN where the point was not seen; metres
        along the optical axis, interpolated over the frames where they are known (0 for a trace without any); and
        seconds from the frame to the newest one.
    """
    traces = given.traces
    scale = np.divide(size, traces.image_size).astype(np.float32)
    vertices = np.empty((*traces.visible.shape, 4), np.float32)
    vertices[..., :2] = (traces.points + np.float32(0.5)) * scale
    vertices[..., :2][~seen_inside(traces)] = np.nan
    vertices[..., 2] = interpolate_columns(given.depths)
    vertices[..., 3] = ((traces.stamp - traces.frame_stamps) * 1e-9)[:, None]
    return vertices


def trace_cells(vertices: np.ndarray, intrinsics: np.ndarray, size: int, cells: int) -> np.ndarray:
    """The planes of a frame's traces. The order of the traces does not matter.

    :param vertices: (T, N, 4) result of :func:`trace_vertices`, oldest first; x and y may lie outside of the picture.
    :param intrinsics: (3, 3) in pixels of the square picture.
    :param size: side S of the square picture, pixels.
    :param cells: number C of cells along a side; S is a multiple of it.
    :returns: (C, C, 5) float32, rows first: the share of the cell's pixels that strokes cover, 0 to 1; the age of the
        newest stroke in it, seconds from the frame where it ends to the newest one; how far its point moved in it, x y
        z metres in the camera's frame, each end at the depth where it was seen (0 where no depth is known). All 0 where
        nothing is drawn. Of strokes that end in the same frame, the last by its place in the picture counts.
    :raises InputError: for shapes that do not fit.
    """
    if vertices.ndim != 3 or vertices.shape[2] != 4 or size % cells:
        raise InputError(
            f"trace cells: expected vertices (T, N, 4) and a size that is a multiple of {cells}, got "
            f"{vertices.shape} and {size}"
        )
    result = np.zeros((cells, cells, CELL_NUMBERS), np.float32)
    starts, ends = _strokes(vertices)
    if not len(starts):
        return result
    newest, result[..., SHARE] = _drawn(starts, ends, size, cells)
    # The first entry is for cells without any stroke.
    ages = np.append(np.float32(0), ends[:, 3])
    motions = np.vstack([np.zeros(3), _in_space(ends, intrinsics) - _in_space(starts, intrinsics)])
    result[..., AGE], result[..., MOTION] = ages[newest], motions[newest]
    return result


def _strokes(vertices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both ends of each stroke, (K, 4) each, oldest first, whatever the order of the traces."""
    seen = np.isfinite(vertices).all(axis=-1)
    joined = seen[:-1] & seen[1:]
    starts, ends = vertices[:-1][joined], vertices[1:][joined]
    places = (*starts[:, :3].T, *ends[:, :3].T)
    order = np.lexsort((*places, -ends[:, 3]))
    return starts[order], ends[order]


def _drawn(starts: np.ndarray, ends: np.ndarray, size: int, cells: int) -> tuple[np.ndarray, np.ndarray]:
    """By cell (C, C): number of the newest stroke in it from 1 on, 0 for none; and the share that strokes cover."""
    canvas = np.zeros((size, size), np.float32)
    # OpenCV's whole numbers are the pixels' centres. Places far outside are cut off; that changes nothing inside.
    scale = 1 << _FRACTION_BITS
    lines = np.rint((np.clip(np.stack([starts, ends], axis=1)[..., :2], -size, 2 * size) - 0.5) * scale).astype(int)
    for number, (start, end) in enumerate(lines.tolist(), 1):
        cv2.line(canvas, start, end, float(number), LINE_WIDTH, cv2.LINE_8, _FRACTION_BITS)
    side = size // cells
    blocks = canvas.reshape(cells, side, cells, side)
    return blocks.max(axis=(1, 3)).astype(int), (blocks > 0).mean(axis=(1, 3), dtype=np.float32)


def _in_space(ends: np.ndarray, intrinsics: np.ndarray) -> np.ndarray:
    """Vertices (K, 4) as points in space, (K, 3) metres; all 0 where the depth is 0."""
    k = np.asarray(intrinsics, np.float64)
    z = ends[:, 2:3].astype(np.float64)
    rays = (ends[:, :2] - k[:2, 2]) / k[[0, 1], [0, 1]]
    return np.concatenate([rays * z, z], axis=1)
