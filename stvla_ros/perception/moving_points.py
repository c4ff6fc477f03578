"""Selects the tracked points that become traces: a few moving ones, spread over everything that moves.

The nearest published method (TraceVLA, arXiv 2412.10345) takes points with a mean L1 step of more than 1 px, and of
these 5 at random. Here the threshold scales with the picture, tracking noise is told from motion, and the same input
gives the same choice.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stvla_ros.errors import InputError
from stvla_ros.perception.types import Traces


@dataclass(frozen=True)
class SelectionParameters:
    """:param max_traces: largest number of selected points; few, because lines hide small objects.
    :param min_extent: least distance between a moving point's place now and an earlier place, as a share of the image's
        diagonal.
    :param max_wander: largest ratio of a path's length to its extent; a jittering point's ratio is larger.
    :param min_spacing: least distance of two selected points in the newest frame, as a share of the diagonal.
    :param min_difference: least difference of two selected points' motions, as a share of the larger motion
        (:func:`difference`): points that move more alike count as one rigid body. 0 selects any number of a body.
    :raises InputError: for a value out of range.
    """

    max_traces: int = 8
    min_extent: float = 0.01
    max_wander: float = 8.0
    min_spacing: float = 0.02
    min_difference: float = 0.0

    def __post_init__(self) -> None:
        if self.max_traces < 1:
            raise InputError(f"selection max_traces: expected at least 1, got {self.max_traces}")
        if not 0.0 < self.min_extent < 1.0:
            raise InputError(f"selection min_extent: expected a share of the diagonal in (0, 1), got {self.min_extent}")
        if not self.max_wander >= 1.0:
            raise InputError(f"selection max_wander: expected at least 1, got {self.max_wander}")
        if not 0.0 <= self.min_spacing < 1.0:
            raise InputError(f"selection min_spacing: expected a share of the diagonal, [0, 1), got {self.min_spacing}")
        if not 0.0 <= self.min_difference < 1.0:
            raise InputError(f"selection min_difference: expected a share, [0, 1), got {self.min_difference}")


ONE_A_BODY = SelectionParameters(max_traces=3, min_difference=0.25)
"""At most one trace of each rigid body, and three in all. Points of one body share its motion, except for its rotation
and for perspective; the share leaves room for these."""


def motion(traces: Traces) -> tuple[np.ndarray, np.ndarray]:
    """The motion of points, from the frames in which they were seen.

    :return: (N,) extent: largest distance of an earlier position from the newest one; (N,) path: summed steps between
        successive sightings. Both in pixels; 0 for points that are not seen in the newest frame, or only there.
    """
    visible = traces.visible & traces.visible[-1]
    extent = np.where(visible, np.linalg.norm(traces.points - traces.points[-1], axis=2), 0.0).max(axis=0)
    # The last frame at or before each frame in which the point was seen; -1 before the first one.
    last = np.maximum.accumulate(np.where(visible, np.arange(len(visible))[:, None], -1), axis=0)
    held = np.take_along_axis(traces.points, np.maximum(last, 0)[..., None], axis=0)
    steps = np.linalg.norm(np.diff(held, axis=0), axis=2)
    path = np.where(last[:-1] >= 0, steps, 0.0).sum(axis=0)
    return extent, path


def difference(traces: Traces, point: int, others: Sequence[int]) -> np.ndarray:
    """The difference between motions of the newest frame's points, over the frames that show both.

    :param point: index of the point.
    :param others: indices of K other points.
    :returns: (K,) the largest distance of the two points' motions (from a frame to the newest one), as a share of the
        larger motion; 0 if no earlier frame shows both, or if neither moved.
    """
    steps = np.where(traces.visible[..., None], traces.points - traces.points[-1], np.float32(0))
    both = traces.visible[:, others] & traces.visible[:, [point]]
    apart = np.where(both, np.linalg.norm(steps[:, others] - steps[:, [point]], axis=2), 0.0).max(axis=0)
    lengths = np.maximum(*(np.linalg.norm(steps[:, which], axis=2) for which in (others, [point])))
    moved = np.where(both, lengths, 0.0).max(axis=0)
    return np.divide(apart, moved, out=np.zeros_like(moved), where=moved > 0)


def select_moving(traces: Traces, parameters: SelectionParameters = SelectionParameters()) -> Traces:
    """The traces of moving points, farthest-moved first, equal ones in the order of their ids.

    A point is taken when it is seen in the newest frame, has moved (``min_extent``), and has not just jittered
    (``max_wander``). It must also be far enough from every point taken before it (``min_spacing``), and move
    differently (``min_difference``).
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
        if (gaps < parameters.min_spacing * diagonal).any():
            continue
        if parameters.min_difference and (difference(traces, int(index), chosen) < parameters.min_difference).any():
            continue
        chosen.append(int(index))
    return Traces(
        traces.points[:, chosen], traces.visible[:, chosen], traces.ids[chosen], traces.frame_stamps, traces.image_size
    )
