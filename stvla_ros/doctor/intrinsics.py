"""Check 5: the camera's intrinsics."""

import numpy as np

from stvla_ros.doctor.findings import Findings, error, note, ok
from stvla_ros.doctor.records import CameraInfos
from stvla_ros.doctor.streams import sizes_text
from stvla_ros.errors import InputError
from stvla_ros.perception.calibration import CameraCalibration, distortion_text, intrinsics_for
from stvla_ros.perception.geometry import check_intrinsics

_CALIBRATE = "calibrate the camera (ROS package camera_calibration), or have its driver send the factory's values"


def check_camera_info(info: CameraInfos, picture_sizes: frozenset[tuple[int, int]]) -> Findings:
    """:param picture_sizes: (width, height) of the received pictures."""
    topic = info.stream.topic
    if info.matrix is None:
        yield error(f"{topic}: no intrinsics came", "see the section camera: it says why")
        return
    try:
        matrix = check_intrinsics(info.matrix)
    except InputError as problem:
        yield error(f"{topic}: {problem}", _CALIBRATE)
        return
    calibration = CameraCalibration(*info.size, matrix, info.model, np.array(info.distortion))
    (fx, _, cx), (_, fy, cy), _ = matrix
    # If a driver leaves the size out, the picture's size is meant.
    size = info.size if all(info.size) else next(iter(picture_sizes), (0, 0))
    yield ok(f"{topic}: fx {fx:.1f}, fy {fy:.1f}, cx {cx:.1f}, cy {cy:.1f} pixels, for {size[0]}x{size[1]}")
    if all(size) and not (0 <= cx < size[0] and 0 <= cy < size[1]):
        yield error(
            f"{topic}: the principal point {cx:.1f}, {cy:.1f} is outside the picture of {size[0]}x{size[1]}",
            f"it is a calibration of another resolution, or wrong: {_CALIBRATE}",
        )
    if not picture_sizes:
        yield note(f"{topic}: not compared with a picture, because no picture came")
    elif picture_sizes != {size}:
        yield from _check_size(topic, calibration, picture_sizes)
    if not np.isfinite(info.distortion).all():
        yield error(f"{topic}: {distortion_text(calibration)}", _CALIBRATE)
    elif said := distortion_text(calibration):
        values = ", ".join(f"{value:.3g}" for value in info.distortion)
        yield note(f"{topic}: {said}", f"coefficients: {values}")


def _check_size(topic: str, calibration: CameraCalibration, picture_sizes: frozenset[tuple[int, int]]) -> Findings:
    text = f"{topic}: for pictures of {calibration.width}x{calibration.height}, they are {sizes_text(picture_sizes)}"
    try:
        for size in picture_sizes:
            intrinsics_for(calibration, size)
    except InputError:
        yield error(
            f"{text}; the policy does not act on them",
            "give the camera_info that belongs to the image topic, or calibrate at this resolution",
        )
        return
    yield note(f"{text}: scaled to them", "to be sure, have the driver publish the camera_info of this resolution")
