"""Pinhole geometry. Pure functions; pixels are (x, y) with pixel centres at integers, sizes are (width, height).

With centres at integers a picture covers [-0.5, width - 0.5), so a resize by s maps x to (x + 0.5) s - 0.5. That is
OpenCV's and sensor_msgs/CameraInfo's convention. SpatialVLA's own is in policy/spatialvla/ego3d.py.

Camera frames are optical frames (REP-103): x right, y down, z forward, metres.
"""

import numpy as np

from stvla_ros.errors import InputError


def check_size(size: tuple[int, int], name: str) -> tuple[int, int]:
    """:returns: ``size`` as ints. :raises InputError: unless it is (width, height), both positive."""
    if len(size) != 2 or any(int(side) != side or side <= 0 for side in size):
        raise InputError(f"{name}: expected (width, height), both positive integers, got {tuple(size)}")
    return int(size[0]), int(size[1])


def parse_pose(name: str, text: str) -> np.ndarray:
    """A pose as people write it: x y z in metres, then roll, pitch, yaw in radians about the fixed axes, as in a URDF.

    :param name: name of the argument, for the error.
    :param text: six numbers, separated by spaces or commas.
    :returns: (4, 4) pose.
    :raises InputError: for anything else.
    """
    try:
        numbers = [float(part) for part in text.replace(",", " ").split()]
    except ValueError:
        numbers = []
    if len(numbers) != 6 or not np.isfinite(numbers).all():
        raise InputError(f"{name}: expected x y z roll pitch yaw, six numbers in metres and radians, got {text!r}")
    from scipy.spatial.transform import Rotation  # most users of this module parse no poses

    pose = np.eye(4)
    pose[:3, :3] = Rotation.from_euler("xyz", numbers[3:]).as_matrix()
    pose[:3, 3] = numbers[:3]
    return pose


def pose_numbers(pose: np.ndarray) -> list[float]:
    """The six numbers of a pose, as :func:`parse_pose` reads them."""
    from scipy.spatial.transform import Rotation

    return [*pose[:3, 3].tolist(), *Rotation.from_matrix(pose[:3, :3]).as_euler("xyz").tolist()]


def check_intrinsics(intrinsics: np.ndarray) -> np.ndarray:
    """
    :param intrinsics: (3, 3) pinhole matrix [[fx, 0, cx], [0, fy, cy], [0, 0, 1]] in pixels.
    :returns: the matrix as (3, 3) float64.
    :raises InputError: for anything but a matrix of numbers, another shape or form, a NaN or infinity, or a focal
        length that is not positive (an uncalibrated camera's CameraInfo is all zeros).
    """
    try:
        k = np.asarray(intrinsics, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"intrinsics: expected a 3x3 matrix of numbers, got {error}") from error
    if k.shape != (3, 3):
        raise InputError(f"intrinsics: expected a 3x3 matrix, got shape {k.shape}")
    if not np.isfinite(k).all():
        raise InputError("intrinsics: expected finite numbers, got NaN or infinity")
    if not (k[0, 0] > 0 and k[1, 1] > 0):
        raise InputError(f"intrinsics: expected positive fx and fy in pixels, got {k[0, 0]:g} and {k[1, 1]:g}")
    if k[0, 1] != 0 or k[1, 0] != 0 or k[2].tolist() != [0, 0, 1]:
        raise InputError(f"intrinsics: expected [[fx, 0, cx], [0, fy, cy], [0, 0, 1]], got {k.tolist()}")
    return k


def resize_points(points: np.ndarray, from_size: tuple[int, int], to_size: tuple[int, int]) -> np.ndarray:
    """Map pixels of a picture to their places after a resize; each axis has its own factor.

    :param points: (..., 2) x and y in pixels of the picture of ``from_size``.
    :returns: (..., 2), same floating-point type as ``points``, in pixels of the picture of ``to_size``.
    :raises InputError: for a size that is not positive.
    """
    scale = np.divide(check_size(to_size, "to_size"), check_size(from_size, "from_size")).astype(points.dtype)
    half = points.dtype.type(0.5)
    return (points + half) * scale - half


def back_project(points: np.ndarray, depth: np.ndarray, intrinsics: np.ndarray) -> np.ndarray:
    """Pixels with depth to points in the camera's optical frame: z K^-1 [x, y, 1].

    :param points: (..., 2) pixels.
    :param depth: (...) metres along the optical axis; anything not finite and positive counts as unknown.
    :param intrinsics: (3, 3) in the same pixels.
    :returns: (..., 3) float64 metres; NaN where the depth is unknown.
    :raises InputError: as ``check_intrinsics``; also for shapes that do not fit together.
    """
    k = check_intrinsics(intrinsics)
    points, depth = np.asarray(points, dtype=np.float64), np.asarray(depth, dtype=np.float64)
    if points.shape != (*depth.shape, 2):
        raise InputError(
            f"points: expected shape {(*depth.shape, 2)} for a depth of shape {depth.shape}, got {points.shape}"
        )
    z = np.where(np.isfinite(depth) & (depth > 0), depth, np.nan)[..., None]
    rays = (points - k[:2, 2]) / k[[0, 1], [0, 1]]
    return np.concatenate([rays * z, z], axis=-1)


def project(points: np.ndarray, intrinsics: np.ndarray) -> np.ndarray:
    """Points in the camera's optical frame to pixels.

    :param points: (..., 3) metres.
    :param intrinsics: (3, 3).
    :returns: (..., 2) float64 pixels; NaN for points that are not in front of the camera.
    :raises InputError: as ``check_intrinsics``; also for points of another shape.
    """
    k = check_intrinsics(intrinsics)
    points = np.asarray(points, dtype=np.float64)
    if points.shape[-1:] != (3,):
        raise InputError(f"points: expected shape (..., 3), got {points.shape}")
    z = np.where(points[..., 2:] > 0, points[..., 2:], np.nan)
    return points[..., :2] / z * k[[0, 1], [0, 1]] + k[:2, 2]
