"""When an arm rests: pictures of it are not blurred then, and its joints are known for each of them."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from stvla_ros.perception.calibration import CameraCalibration

# Radians within which a joint at rest stays: encoders flicker by a step or two.
STILL_RAD = 0.01
# Seconds until a gripper with a board has swung out, and a camera's delay is over.
SETTLE_S = 0.4
# Seconds that an arm rests in all, for a place of it to count.
SHORTEST_S = 0.8
# Radians by which a joint must have moved for a place to be another one.
ANOTHER_RAD = 0.03
# Seconds without a joint state in which the arm may have moved.
_SILENT_S = 0.5
# Pictures of one rest whose mean is taken.
MOST_PICTURES = 5


class Rest(NamedTuple):
    """
    :param begin_ns: stamp from which on everything has settled, nanoseconds.
    :param end_ns: stamp of the last joint state, nanoseconds.
    :param position: (n,) mean position in between, radians.
    """

    begin_ns: int
    end_ns: int
    position: np.ndarray


@dataclass(frozen=True)
class RestingPictures:
    """
    :param pictures: some (H, W, 3) uint8 RGB pictures of this time.
    :param camera: their camera; None if nothing tells it.
    :param rectified: whether they are rectified ones.
    """

    rest: Rest
    pictures: tuple[np.ndarray, ...]
    camera: CameraCalibration | None
    rectified: bool


def rests(times: np.ndarray, positions: np.ndarray) -> list[Rest]:
    """The times in which all joints rested, each at another place than the time before.

    :param times: (m,) int64 stamps, nanoseconds, not decreasing.
    :param positions: (m, n) radians.
    """
    found: list[Rest] = []
    begin = 0
    for index in range(1, len(times) + 1):
        if index < len(times):
            heard = times[index] - times[index - 1] <= _SILENT_S * 1e9
            if heard and _still(positions[begin : index + 1]):
                continue
        rest = _rest(times[begin:index], positions[begin:index])
        if rest and (not found or np.abs(rest.position - found[-1].position).max() > ANOTHER_RAD):
            found.append(rest)
        if rest or index == len(times) or not heard:
            begin = index
            continue
        # The end of a motion is not yet a rest, but the rest begins in it.
        while not _still(positions[begin : index + 1]):
            begin += 1
    return found


def _still(positions: np.ndarray) -> bool:
    return not (np.ptp(positions, axis=0) > STILL_RAD).any()


def _rest(times: np.ndarray, positions: np.ndarray) -> Rest | None:
    if not len(times) or times[-1] - times[0] < SHORTEST_S * 1e9:
        return None
    settled = times >= times[0] + SETTLE_S * 1e9
    return Rest(int(times[settled][0]), int(times[-1]), positions[settled].mean(axis=0))
