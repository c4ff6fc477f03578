"""Lines with depth on a square map, vectorised over all traces. Pixels are (x, y) with centres at integers."""

import cv2
import numpy as np


def segments(points: np.ndarray, seen: np.ndarray, min_distance: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The vertices that lines join: rows of their starts and ends, and the column (trace), each (S,) int."""
    if min_distance == 0:
        starts, columns = np.nonzero(seen[:-1] & seen[1:])
        return starts, starts + 1, columns
    # Whether a vertex is kept depends on the last one kept. So the loop runs over rows, with all traces of a row
    # together.
    last = np.full(seen.shape[1], -1)
    last_point = np.zeros_like(points[0])
    run_ends = seen.copy()
    run_ends[:-1] &= ~seen[1:]
    found: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    for row in range(len(seen)):
        step = points[row] - last_point
        far = (step * step).sum(axis=1) >= min_distance**2
        keep = seen[row] & (far | run_ends[row] | (last < 0))
        columns = np.nonzero(keep & (last >= 0))[0]
        found.append((last[columns], np.full(len(columns), row), columns))
        last[keep], last_point[keep] = row, points[row, keep]
        last[~seen[row]] = -1
    starts, ends, columns = (np.concatenate(part) for part in zip(*found))
    return starts, ends, columns


def lowest(values: np.ndarray, window: np.ndarray) -> np.ndarray:
    """Minimum of the pixels under the window around each pixel; outside of the map is +Inf."""
    return cv2.erode(values, window, borderType=cv2.BORDER_CONSTANT, borderValue=np.inf)


def pixels_of(points: np.ndarray, size: int) -> np.ndarray:
    """(..., 2) int pixels that points fall into. Points outside of the map, and NaN, give some pixel of the map."""
    inside = np.fmin(np.fmax(points + np.float32(0.5), np.float32(0)), np.float32(size - 1))  # fmax and fmin drop NaN
    return inside.astype(np.intp)


def z_buffer(start: np.ndarray, end: np.ndarray, z_start: np.ndarray, z_end: np.ndarray, size: int) -> np.ndarray:
    """Centre lines of segments: (size, size) float32 with the nearest depth on each pixel, +Inf where there is no line.

    One sample per pixel along a segment's longer axis, as in a digital differential analyser.
    """
    step = end - start
    intervals = np.maximum(np.ceil(np.abs(step).max(axis=1, initial=0)), 1).astype(np.int32)
    samples = intervals + 1
    first = np.cumsum(samples) - samples
    share = np.arange(samples.sum(), dtype=np.int32) - np.repeat(first.astype(np.int32), samples)
    share = share.astype(np.float32) / np.repeat(intervals, samples).astype(np.float32)

    def along(value: np.ndarray, change: np.ndarray) -> np.ndarray:
        return np.repeat(value, samples) + share * np.repeat(change, samples)

    # Lines run inside the map, so x + 0.5 >= 0 and truncation finds the pixel; rounding may reach the far border.
    x, y = (
        np.minimum((along(start[:, axis] + np.float32(0.5), step[:, axis])).astype(np.int32), size - 1)
        for axis in (0, 1)
    )
    buffer = np.full(size * size, np.inf, np.float32)
    np.minimum.at(buffer, (y * size + x).astype(np.intp), along(z_start, z_end - z_start))
    return buffer.reshape(size, size)
