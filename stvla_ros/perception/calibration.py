"""A camera's calibration, and the part of it that applies to a given picture.

Conventions are those of sensor_msgs/CameraInfo, REP-104 and the ROS package image_geometry.
"""

from dataclasses import dataclass, field, replace
from typing import Any

import cv2
import numpy as np

from stvla_ros.errors import InputError
from stvla_ros.perception.geometry import check_intrinsics

# Largest error of a resized picture's side through rounding, pixels.
_ROUNDING_PIXELS = 1.0
# Displacement at a corner below which a lens counts as a pinhole, pixels.
_PINHOLE_PIXELS = 2.0
_FISHEYE = ("equidistant", "fisheye", "kannala_brandt4")
# Numbers of coefficients for which OpenCV knows the polynomial of plumb_bob and rational_polynomial.
_POLYNOMIALS = (4, 5, 8, 12, 14)


@dataclass(frozen=True)
class CameraCalibration:
    """A pinhole camera as in sensor_msgs/CameraInfo.

    :param width: width of the calibrated picture, pixels; 0 if the driver leaves it out.
    :param height: height of the calibrated picture, pixels; 0 if the driver leaves it out.
    :param intrinsics: (3, 3) float64, [[fx, 0, cx], [0, fy, cy], [0, 0, 1]], pixels.
    :param distortion_model: name of the distortion model, such as plumb_bob.
    :param distortion: (n,) float64, the model's coefficients; empty for none.
    :param rectification: (3, 3) float64, rotation of the rectified camera.
    :param projection: (3, 4) float64 matrix of the rectified camera; None: the intrinsics' own.
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


def from_message(message: Any) -> CameraCalibration:
    """
    :param message: sensor_msgs/CameraInfo, of rclpy or of a recording.
    :returns: the calibration of the picture as the camera sends it, with binning and region of interest taken into
        account.
    """
    whole = CameraCalibration(
        width=message.width,
        height=message.height,
        intrinsics=np.array(message.k, np.float64).reshape(3, 3),
        distortion_model=message.distortion_model,
        distortion=np.array(message.d, np.float64),
        rectification=np.array(message.r, np.float64).reshape(3, 3),
        projection=np.array(message.p, np.float64).reshape(3, 4),
    )
    part = message.roi
    region = (part.x_offset, part.y_offset, part.width, part.height)
    return as_sent(whole, (message.binning_x, message.binning_y), region)


def as_sent(
    calibration: CameraCalibration, binning: tuple[int, int], region: tuple[int, int, int, int]
) -> CameraCalibration:
    """The calibration of the picture that a camera sends, computed from the calibration of its whole sensor.

    :param binning: number of pixels that become one, in x and y; 0 means 1.
    :param region: x, y, width, height of the part that is read out, whole pixels; width and height 0: all.
    """
    x, y, width, height = region
    across, down = (max(each, 1) for each in binning)
    width, height = width or calibration.width, height or calibration.height
    if (x, y, across, down) == (0, 0, 1, 1) and (width, height) == (calibration.width, calibration.height):
        return calibration
    shift = np.array([[1.0, 0.0, -x], [0.0, 1.0, -y], [0.0, 0.0, 1.0]])
    change = _resize(1.0 / across, 1.0 / down) @ shift
    with np.errstate(invalid="ignore"):  # users of the matrices check for numbers that are not finite
        intrinsics, projection = change @ calibration.intrinsics, change @ calibration.projection
    return replace(
        calibration, width=width // across, height=height // down, intrinsics=intrinsics, projection=projection
    )


def intrinsics_for(calibration: CameraCalibration, size: tuple[int, int], rectified: bool = False) -> np.ndarray:
    """
    :param size: (width, height) of the picture, pixels.
    :param rectified: whether the picture is a rectified one, to which the projection matrix applies.
    :returns: (3, 3) float64 pinhole matrix of the picture: the calibrated one, scaled if the picture is a resized one
        of the same shape.
    :raises InputError: for a picture of another shape, and for a matrix that no camera can have (an uncalibrated camera
        sends zeros).
    """
    matrix = calibration.intrinsics
    if rectified and calibration.projection[0, 0] > 0:
        matrix = calibration.projection[:, :3]
    matrix = check_intrinsics(matrix)
    calibrated = (calibration.width, calibration.height)
    if calibrated == size or not all(calibrated):
        return matrix
    across, down = size[0] / calibrated[0], size[1] / calibrated[1]
    if abs(calibrated[1] * across - size[1]) > _ROUNDING_PIXELS:
        raise InputError(
            f"expected intrinsics for pictures of {size[0]}x{size[1]} or of this shape, they are for "
            f"{calibrated[0]}x{calibrated[1]}"
        )
    return _resize(across, down) @ matrix


def is_rectified(topic: str) -> bool:
    """Whether the topic's name says that its pictures are rectified, as image_proc and cameras' drivers name them."""
    return "rect" in topic.replace("_", "/").split("/")


def as_pinhole(
    calibration: CameraCalibration, size: tuple[int, int], rectified: bool, pixels: np.ndarray
) -> np.ndarray:
    """Where a pinhole camera with the matrix of :func:`intrinsics_for` would see what the lens shows at some pixels.

    :param pixels: (n, 2) of the picture.
    :returns: (n, 2).
    :raises InputError: as :func:`intrinsics_for`; also for a model of distortion that this package does not know.
    """
    matrix = intrinsics_for(calibration, size, rectified)
    coefficients = np.asarray(calibration.distortion, dtype=np.float64)
    if rectified or not coefficients.any():
        return pixels
    points = np.asarray(pixels, np.float64).reshape(-1, 1, 2)
    if _is_fisheye(calibration):
        return cv2.fisheye.undistortPoints(points, matrix, coefficients, P=matrix).reshape(-1, 2)
    if not _is_polynomial(calibration) or not np.isfinite(coefficients).all():
        raise InputError(
            f"camera_info: expected a distortion of plumb_bob, rational_polynomial or equidistant, got "
            f"{calibration.distortion_model!r} with {len(coefficients)} numbers; give the rectified topic"
        )
    return cv2.undistortPoints(points, matrix, coefficients, P=matrix).reshape(-1, 2)


def _is_fisheye(calibration: CameraCalibration) -> bool:
    return calibration.distortion_model in _FISHEYE and len(calibration.distortion) == 4


def _is_polynomial(calibration: CameraCalibration) -> bool:
    known = calibration.distortion_model in ("plumb_bob", "rational_polynomial")
    return known and len(calibration.distortion) in _POLYNOMIALS


def scaled_by(calibration: CameraCalibration, size: tuple[int, int]) -> float:
    """The factor by which :func:`intrinsics_for` scales."""
    return size[0] / calibration.width if calibration.width else 1.0


def distortion_text(calibration: CameraCalibration) -> str:
    """The error of treating the camera as a pinhole, in words for people; empty when it is negligible."""
    coefficients = np.asarray(calibration.distortion, dtype=np.float64)
    if not np.isfinite(coefficients).all():
        return "distortion coefficients are not finite"
    if not coefficients.any():
        return ""
    said = "and pixels are taken as those of a pinhole camera; give the rectified topic (image_rect of image_proc)"
    pixels = _distortion_pixels(calibration, coefficients)
    if pixels is None:
        return f"the lens distorts (model {calibration.distortion_model!r}, which this package does not know), {said}"
    if pixels < _PINHOLE_PIXELS:
        return ""
    return f"the lens distorts by up to {pixels:.0f} pixels ({calibration.distortion_model}), {said}"


def _distortion_pixels(calibration: CameraCalibration, coefficients: np.ndarray) -> float | None:
    """The largest distance, pixels, between the image of a point through the lens and through a pinhole, over the
    corners and the middles of the edges; None for an unknown model.
    """
    fisheye = _is_fisheye(calibration)
    if not fisheye and not _is_polynomial(calibration):
        return None
    k = calibration.intrinsics
    width, height = calibration.width or 2 * k[0, 2], calibration.height or 2 * k[1, 2]
    x, y = np.meshgrid([-0.5, (width - 1) / 2, width - 0.5], [-0.5, (height - 1) / 2, height - 0.5])
    rays = np.stack([(x - k[0, 2]) / k[0, 0], (y - k[1, 2]) / k[1, 1]], axis=-1).reshape(-1, 1, 2)
    if fisheye:
        drawn = cv2.fisheye.distortPoints(rays, k, coefficients)
    else:
        space = np.concatenate([rays, np.ones((len(rays), 1, 1))], axis=2)
        drawn = cv2.projectPoints(space, np.zeros(3), np.zeros(3), k, coefficients)[0]
    straight = np.stack([x, y], axis=-1).reshape(-1, 2)
    return float(np.hypot(*(drawn.reshape(-1, 2) - straight).T).max())


def _resize(across: float, down: float) -> np.ndarray:
    """(3, 3) matrix that maps pixels to their places after a resize; pixel centres are at integers
    (perception/geometry.py).
    """
    return np.array([[across, 0.0, 0.5 * across - 0.5], [0.0, down, 0.5 * down - 0.5], [0.0, 0.0, 1.0]])
