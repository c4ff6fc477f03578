"""The data that every kind of recording yields."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from stvla_ros.perception.calibration import CameraCalibration

# Recordings without stamps of their own start at one second, because 0 means "no time" in ROS.
FIRST_STAMP_NS = 1_000_000_000

# Called with one line for each frame that cannot be decoded and is left out.
OnBadFrame = Callable[[str], None]


@dataclass(frozen=True)
class RecordedFrame:
    """One moment of a recording.

    :param stamp_ns: time of the picture, nanoseconds; as recorded, so stamps need not increase.
    :param rgb: (H, W, 3) uint8.
    :param frame_id: name of the camera's optical frame; empty when the recording has none.
    :param camera: calibration of the picture, if recorded.
    :param depth: (H, W) uint16 millimetres or float32 metres (REP-118), registered to `rgb` and of the same stamp, if
        recorded.
    """

    stamp_ns: int
    rgb: np.ndarray
    frame_id: str = ""
    camera: CameraCalibration | None = None
    depth: np.ndarray | None = None
