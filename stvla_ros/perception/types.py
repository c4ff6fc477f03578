"""What the perception stages hand to each other.

Pixels are (x, y) with pixel centres at integers; stamps are int nanoseconds.
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Traces:
    """Where N points were in the last T frames (T >= 1, oldest first, the last row is the newest frame).

    :param points: (T, N, 2) float32, x and y in pixels of the source image.
    :param visible: (T, N) bool, whether the point was seen in that frame. Points of invisible entries carry no meaning.
    :param ids: (N,) uint32, stable while a point is tracked, never reused within an episode.
    :param frame_stamps: (T,) int64 nanoseconds.
    :param image_size: (width, height) of the source image in pixels.
    """

    points: np.ndarray
    visible: np.ndarray
    ids: np.ndarray
    frame_stamps: np.ndarray
    image_size: tuple[int, int]

    @property
    def stamp(self) -> int:
        """Stamp of the newest frame, nanoseconds."""
        return int(self.frame_stamps[-1])

    @property
    def num_points(self) -> int:
        return self.points.shape[1]


@dataclass(frozen=True)
class TracedDepth:
    """Result of one perception step.

    :param stamp: stamp of the newest frame, nanoseconds.
    :param depth: (224, 224) float32, metric depth in metres with the traces drawn in; 0 where unknown.
    :param metric_depth: (H, W) float32, metric depth in metres registered to the source image; 0 or NaN where unknown
        (REP-118).
    :param traces: the traces that were drawn (N = 0 before there are any).
    """

    stamp: int
    depth: np.ndarray
    metric_depth: np.ndarray
    traces: Traces
