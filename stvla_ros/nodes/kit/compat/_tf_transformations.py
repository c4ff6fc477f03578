"""Fallback for the ROS package `tf_transformations`, on scipy's `Rotation`.

Quaternions are (x, y, z, w), angles radians, matrices (4, 4) homogeneous. `axes` names three Euler angles as in the
package: 'sxyz' (the default) turns about the fixed ('s') x, y, z axes in that order, 'rzyx' about the rotating ('r')
axes.
"""

import warnings
from collections.abc import Sequence

import numpy as np
from scipy.spatial.transform import Rotation


def identity_matrix() -> np.ndarray:
    return np.identity(4)


def translation_matrix(direction: Sequence[float]) -> np.ndarray:
    """(4, 4) matrix that moves by `direction` (3,)."""
    return _matrix(Rotation.identity(), direction)


def translation_from_matrix(matrix: np.ndarray) -> np.ndarray:
    """(3,) translation of a (4, 4) matrix."""
    return np.array(matrix, dtype=np.float64)[:3, 3]


def quaternion_matrix(quaternion: Sequence[float]) -> np.ndarray:
    """(4, 4) rotation; a quaternion of any length but zero is normalised, zero gives the identity."""
    return _matrix(Rotation.from_quat(quaternion) if np.any(quaternion) else Rotation.identity())


def quaternion_from_matrix(matrix: np.ndarray) -> np.ndarray:
    """(4,) rotation of a (4, 4) matrix; w >= 0."""
    quaternion = _rotation(matrix).as_quat()
    # Of the two that mean the same, the one with w > 0, or else with the first other number above 0.
    leading = next((number for number in quaternion[[3, 0, 1, 2]] if number), 1.0)
    return -quaternion if leading < 0 else quaternion


def quaternion_from_euler(ai: float, aj: float, ak: float, axes: str = "sxyz") -> np.ndarray:
    """(4,) rotation by three Euler angles."""
    return Rotation.from_euler(_sequence(axes), [ai, aj, ak]).as_quat()


def quaternion_about_axis(angle: float, axis: Sequence[float]) -> np.ndarray:
    """(4,) rotation by `angle` about `axis` (3,) of any length but zero."""
    return Rotation.from_rotvec(angle * np.asarray(axis, dtype=np.float64) / np.linalg.norm(axis)).as_quat()


def quaternion_multiply(quaternion1: Sequence[float], quaternion0: Sequence[float]) -> np.ndarray:
    """(4,) rotation `quaternion0` followed by `quaternion1`, both of length one."""
    return (Rotation.from_quat(quaternion1) * Rotation.from_quat(quaternion0)).as_quat()


def quaternion_conjugate(quaternion: Sequence[float]) -> np.ndarray:
    return np.asarray(quaternion, dtype=np.float64) * (-1.0, -1.0, -1.0, 1.0)


def quaternion_inverse(quaternion: Sequence[float]) -> np.ndarray:
    return quaternion_conjugate(quaternion) / np.dot(quaternion, quaternion)


def euler_matrix(ai: float, aj: float, ak: float, axes: str = "sxyz") -> np.ndarray:
    """(4, 4) rotation by three Euler angles."""
    return _matrix(Rotation.from_euler(_sequence(axes), [ai, aj, ak]))


def euler_from_matrix(matrix: np.ndarray, axes: str = "sxyz") -> tuple[float, float, float]:
    # Where two axes are parallel, one of the many triples that mean the same is as good as another. The argument that
    # says so came with scipy 1.11.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        first, second, third = _rotation(matrix).as_euler(_sequence(axes))
    return float(first), float(second), float(third)


def euler_from_quaternion(quaternion: Sequence[float], axes: str = "sxyz") -> tuple[float, float, float]:
    return euler_from_matrix(quaternion_matrix(quaternion), axes)


def inverse_matrix(matrix: np.ndarray) -> np.ndarray:
    return np.linalg.inv(matrix)


def concatenate_matrices(*matrices: np.ndarray) -> np.ndarray:
    """The product of (4, 4) matrices in the order given: the last one is applied first."""
    product = np.identity(4)
    for matrix in matrices:
        product = product @ matrix
    return product


def _rotation(matrix: np.ndarray) -> Rotation:
    return Rotation.from_matrix(np.asarray(matrix, dtype=np.float64)[:3, :3])


def _matrix(rotation: Rotation, translation: Sequence[float] = (0.0, 0.0, 0.0)) -> np.ndarray:
    matrix = np.identity(4)
    matrix[:3, :3], matrix[:3, 3] = rotation.as_matrix(), translation
    return matrix


def _sequence(axes: str) -> str:
    """scipy's name: lower case for fixed axes, upper case for rotating ones."""
    fixed, order = axes[0] == "s", axes[1:]
    return order if fixed else order.upper()
