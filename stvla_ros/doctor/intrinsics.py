"""Check 5: the camera's intrinsics."""

import numpy as np

from stvla_ros.doctor.findings import Findings, error, note, ok
from stvla_ros.doctor.records import CameraInfos
from stvla_ros.doctor.streams import sizes_text
from stvla_ros.errors import InputError
from stvla_ros.perception.geometry import check_intrinsics

_CALIBRATE = "calibrate the camera (ROS package camera_calibration), or have its driver send the factory's values"


def check_camera_info(info: CameraInfos, picture_sizes: frozenset[tuple[int, int]]) -> Findings:
    """:param picture_sizes: (width, height) of the pictures that came."""
    topic = info.stream.topic
    if info.matrix is None:
        yield error(f"{topic}: no intrinsics came", "see the section camera: it says why")
        return
    try:
        matrix = check_intrinsics(info.matrix)
    except InputError as problem:
        yield error(f"{topic}: {problem}", _CALIBRATE)
        return
    (fx, _, cx), (_, fy, cy), _ = matrix
    # A driver that leaves the size out means the picture's.
    size = info.size if all(info.size) else next(iter(picture_sizes), (0, 0))
    yield ok(f"{topic}: fx {fx:.1f}, fy {fy:.1f}, cx {cx:.1f}, cy {cy:.1f} pixels, for {size[0]}x{size[1]}")
    if all(size) and not (0 <= cx < size[0] and 0 <= cy < size[1]):
        yield error(
            f"{topic}: the principal point {cx:.1f}, {cy:.1f} is outside the picture of {size[0]}x{size[1]}",
            f"it is a calibration of another resolution, or wrong: {_CALIBRATE}",
        )
    if not picture_sizes:
        yield note(f"{topic}: not compared with the picture, because none came")
    elif picture_sizes != {size}:
        yield error(
            f"{topic}: for pictures of {size[0]}x{size[1]}, they are {sizes_text(picture_sizes)}",
            "give the camera_info that belongs to the image topic, or calibrate at this resolution",
        )
    yield from _check_distortion(topic, info.distortion)


def _check_distortion(topic: str, distortion: tuple[float, ...]) -> Findings:
    if not np.isfinite(distortion).all():
        yield error(f"{topic}: distortion coefficients are not finite", _CALIBRATE)
    elif any(distortion):
        values = ", ".join(f"{value:.3g}" for value in distortion)
        yield note(
            f"{topic}: the lens distorts ({values}), and pixels are taken as those of a pinhole camera",
            "to be exact at the picture's edge, give the rectified topic (image_rect of the ROS package image_proc)",
        )
