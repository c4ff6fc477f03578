"""What every kind of recording yields."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

# Recordings without stamps of their own start at one second: ROS takes 0 for "no time".
FIRST_STAMP_NS = 1_000_000_000

# Called with one line about each frame that cannot be decoded and is left out.
OnBadFrame = Callable[[str], None]


@dataclass(frozen=True)
class CameraCalibration:
    """A pinhole camera as in sensor_msgs/CameraInfo.

    :param width: of the calibrated picture, pixels.
    :param height: of the calibrated picture, pixels.
    :param intrinsics: (3, 3) float64, [[fx, 0, cx], [0, fy, cy], [0, 0, 1]], pixels.
    :param distortion_model: such as plumb_bob.
    :param distortion: (n,) float64, the model's coefficients; empty for none.
    :param rectification: (3, 3) float64, rotation of the rectified camera.
    :param projection: (3, 4) float64 of the rectified camera; None: that of the intrinsics.
    """

    width: int
    height: int
    intrinsics: np.ndarray
    distortion_model: str = "plumb_bob"
    distortion: np.ndarray = field(default_factory=lambda: np.zeros(5))
    rectification: np.ndarray = field(default_factory=lambda: np.eye(3))
    projection: np.ndarray | None = None

    def __post_init__(self) -> None:
        if self.projection is None:
            object.__setattr__(self, "projection", np.hstack([self.intrinsics, np.zeros((3, 1))]))


@dataclass(frozen=True)
class RecordedFrame:
    """One moment of a recording.

    :param stamp_ns: when the picture was taken, nanoseconds; as recorded, so nothing here promises that stamps
        increase.
    :param rgb: (H, W, 3) uint8.
    :param frame_id: the camera's optical frame; empty when the recording has none.
    :param camera: the calibration, where recorded.
    :param depth: (H, W) uint16 millimetres or float32 metres (REP-118), registered to `rgb` and of the same stamp,
        where recorded.
    """

    stamp_ns: int
    rgb: np.ndarray
    frame_id: str = ""
    camera: CameraCalibration | None = None
    depth: np.ndarray | None = None
