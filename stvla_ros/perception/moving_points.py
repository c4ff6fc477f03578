"""Which tracked points become traces: those that move, few, and spread over what moves.

The rule of the nearest published method (TraceVLA, arXiv 2412.10345) is a mean L1 step of more than 1 px and a random
choice of 5. Here the threshold scales with the picture, tracking noise is told from motion, and the same input gives
the same choice.
"""

from dataclasses import dataclass

import numpy as np

from stvla_ros.errors import InputError
from stvla_ros.perception.types import Traces


@dataclass(frozen=True)
class SelectionParameters:
    """:param max_traces: at most so many points are selected; few, because lines hide small objects.
    :param min_extent: a moving point has been at least so far from where it is now, as a share of the image's diagonal.
    :param max_wander: a path may be at most so many times as long as its extent; a jittering point's is longer.
    :param min_spacing: least distance of two selected points in the newest frame, as a share of the diagonal.
    :raises InputError: for a value out of range.
    """

    max_traces: int = 8
    min_extent: float = 0.01
    max_wander: float = 8.0
    min_spacing: float = 0.02

    def __post_init__(self) -> None:
        if self.max_traces < 1:
            raise InputError(f"selection max_traces: expected at least 1, got {self.max_traces}")
        if not 0.0 < self.min_extent < 1.0:
            raise InputError(f"selection min_extent: expected a share of the diagonal in (0, 1), got {self.min_extent}")
        if not self.max_wander >= 1.0:
            raise InputError(f"selection max_wander: expected at least 1, got {self.max_wander}")
        if not 0.0 <= self.min_spacing < 1.0:
            raise InputError(f"selection min_spacing: expected a share of the diagonal, [0, 1), got {self.min_spacing}")


def motion(traces: Traces) -> tuple[np.ndarray, np.ndarray]:
    """How far points moved, from the frames in which they were seen.

    :return: (N,) extent: largest distance of an earlier position from the newest one; (N,) path: summed steps between
        successive sightings. Pixels; 0 for points that are not seen in the newest frame or were seen only there.
    """
    visible = traces.visible & traces.visible[-1]
    extent = np.where(visible, np.linalg.norm(traces.points - traces.points[-1], axis=2), 0.0).max(axis=0)
    # The last sighting at or before each frame; -1 before the first one.
    last = np.maximum.accumulate(np.where(visible, np.arange(len(visible))[:, None], -1), axis=0)
    held = np.take_along_axis(traces.points, np.maximum(last, 0)[..., None], axis=0)
    steps = np.linalg.norm(np.diff(held, axis=0), axis=2)
    path = np.where(last[:-1] >= 0, steps, 0.0).sum(axis=0)
    return extent, path


def select_moving(traces: Traces, parameters: SelectionParameters = SelectionParameters()) -> Traces:
    """The traces of moving points, farthest-moved first; equal ones in the order of their ids.

    A point is taken when it is seen in the newest frame, has moved (``min_extent``), has not just jittered
    (``max_wander``) and is not too close to one that was taken before it (``min_spacing``).
    """
    diagonal = float(np.hypot(*traces.image_size))
    extent, path = motion(traces)
    moving = (extent >= parameters.min_extent * diagonal) & (path <= parameters.max_wander * extent)
    candidates = np.flatnonzero(moving)
    candidates = candidates[np.lexsort((traces.ids[candidates], -extent[candidates]))]
    newest = traces.points[-1]
    chosen: list[int] = []
    for index in candidates:
        if len(chosen) == parameters.max_traces:
            break
        gaps = np.linalg.norm(newest[chosen] - newest[index], axis=1)
        if (gaps >= parameters.min_spacing * diagonal).all():
            chosen.append(int(index))
    return Traces(
        traces.points[:, chosen], traces.visible[:, chosen], traces.ids[chosen], traces.frame_stamps, traces.image_size
    )
