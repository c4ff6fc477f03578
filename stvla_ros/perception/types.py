"""The data that the perception stages pass to each other.

Pixels are (x, y) with pixel centres at integers; stamps are int nanoseconds.
"""

from dataclasses import dataclass

import numpy as np

from stvla_ros.errors import InputError


@dataclass(frozen=True)
class Traces:
    """The places of N points in the last T frames (T >= 1, oldest first, the last row is the newest frame).

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


@dataclass(frozen=True, eq=False)
class TracesInDepth:
    """Traces with the depths of their points.

    :param traces: traces in pixels of the source image.
    :param depths: (T, N) float32 metres at which each vertex was seen in its frame, 0 where unknown.
    """

    traces: Traces
    depths: np.ndarray


@dataclass(frozen=True)
class TracedDepth:
    """Result of one perception step.

    :param stamp: stamp of the newest frame, nanoseconds.
    :param traced_depth: (224, 224) float32 metres with the traces drawn in; 0 where unknown.
    :param depth: (H, W) float32 metres registered to the source image; 0 or NaN where unknown
        (REP-118).
    :param traces: the traces that were drawn (N = 0 before there are any).
    """

    stamp: int
    traced_depth: np.ndarray
    depth: np.ndarray
    traces: Traces


def check_rgb(rgb: np.ndarray, smallest: int = 1) -> np.ndarray:
    """
    :param smallest: least number of pixels of both sides.
    :returns: the same array.
    :raises InputError: unless it is (H, W, 3) uint8 and large enough.
    """
    if not isinstance(rgb, np.ndarray) or rgb.dtype != np.uint8:
        raise InputError(f"rgb: expected a uint8 array, got {getattr(rgb, 'dtype', type(rgb).__name__)}")
    if rgb.ndim != 3 or rgb.shape[2] != 3:
        raise InputError(f"rgb: expected shape (H, W, 3), got {rgb.shape}")
    if min(rgb.shape[:2]) < smallest:
        raise InputError(f"rgb: expected at least {smallest}x{smallest} pixels, got {rgb.shape[1]}x{rgb.shape[0]}")
    return rgb
