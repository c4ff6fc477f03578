"""The depths that points had when they were seen, from the depth maps of all frames that traces reach back to."""

import numpy as np

from stvla_ros.perception.depth.base import without_invalid
from stvla_ros.perception.geometry import resize_points
from stvla_ros.perception.rasterize import lowest, pixels_of
from stvla_ros.perception.types import Traces


class PointDepths:
    """A point's depth is the nearest valid one in a small window around it. Trackers follow corners, and corners lie on
    outlines, where the pixel itself is as often the background. The outline belongs to the nearer surface.

    The same inputs give the same output, bit for bit. Not thread-safe.

    :param size: side of the square maps in pixels.
    :param window: side of the window, an odd number of pixels of the map; 1 takes the pixel itself.
    """

    def __init__(self, size: int = 224, window: int = 3) -> None:
        self._size, self._window = size, np.ones((window, window), np.uint8)
        self.reset()

    def reset(self) -> None:
        """A new episode starts: forget all maps."""
        self._maps: dict[int, np.ndarray] = {}  # by stamp: maps of the depth that a point at each pixel has

    @property
    def stamps(self) -> list[int]:
        """Stamps of the remembered frames, nanoseconds, increasing."""
        return sorted(self._maps)

    def remember(self, traces: Traces, depth_map: np.ndarray) -> None:
        """Remember the newest frame, and forget those that its traces no longer reach back to.

        :param depth_map: (S, S) float32 metres of the frame ``traces.stamp``, 0 where unknown.
        """
        # A tracker's window only ever drops frames: maps that it no longer reaches back to are never needed again.
        wanted = set(traces.frame_stamps.tolist())
        self._maps = {stamp: known for stamp, known in self._maps.items() if stamp in wanted}
        nearest = lowest(np.where(depth_map > 0, depth_map, np.float32(np.inf)), self._window)
        self._maps[traces.stamp] = without_invalid(nearest)

    def of(self, traces: Traces) -> np.ndarray:
        """Depth of each vertex when its point was seen there.

        :returns: (T, N) float32 metres; 0 where the vertex was not seen, its frame is not remembered or its depth is
            unknown.
        """
        pixels = pixels_of(resize_points(traces.points, traces.image_size, (self._size, self._size)), self._size)
        depths = np.zeros(traces.visible.shape, np.float32)
        for row, stamp in enumerate(traces.frame_stamps.tolist()):
            if (depth_map := self._maps.get(stamp)) is not None:
                depths[row] = depth_map[pixels[row, :, 1], pixels[row, :, 0]]
        return np.where(seen_inside(traces), depths, np.float32(0))


def seen_inside(traces: Traces) -> np.ndarray:
    """(T, N) bool: vertices that were seen and lie inside the picture (false for NaN)."""
    inside = (traces.points >= -0.5) & (traces.points < np.array(traces.image_size, np.float32) - np.float32(0.5))
    return traces.visible & inside.all(axis=-1)
