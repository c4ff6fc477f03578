"""Fallback for the ROS package `tf_transformations`, on the same library (transforms3d).

Quaternions are (x, y, z, w), angles radians, matrices (4, 4) homogeneous; Euler angles are about the fixed x, y, z
axes in that order ('sxyz') unless `axes` says otherwise.
"""

from collections.abc import Sequence

import numpy as np
from transforms3d import affines, euler, quaternions

Quaternion = tuple[float, float, float, float]


def _wxyz(quaternion: Sequence[float]) -> Quaternion:
    x, y, z, w = quaternion
    return w, x, y, z


def _xyzw(quaternion: Sequence[float]) -> Quaternion:
    w, x, y, z = quaternion
    return x, y, z, w


def _affine(rotation: np.ndarray, translation: Sequence[float] = (0.0, 0.0, 0.0)) -> np.ndarray:
    return affines.compose(translation, rotation, np.ones(3))


def identity_matrix() -> np.ndarray:
    return _affine(np.identity(3))


def translation_matrix(direction: Sequence[float]) -> np.ndarray:
    """(4, 4) matrix that moves by `direction` (3,)."""
    return _affine(np.identity(3), direction)


def translation_from_matrix(matrix: np.ndarray) -> np.ndarray:
    """(3,) translation of a (4, 4) matrix."""
    return affines.decompose(matrix)[0]


def quaternion_matrix(quaternion: Sequence[float]) -> np.ndarray:
    """(4, 4) rotation; a quaternion of any length but zero is normalised, zero gives the identity."""
    return _affine(quaternions.quat2mat(_wxyz(quaternion)))


def quaternion_from_matrix(matrix: np.ndarray) -> Quaternion:
    """Rotation of a (4, 4) matrix; w >= 0."""
    return _xyzw(quaternions.mat2quat(affines.decompose(matrix)[1]))


def quaternion_from_euler(ai: float, aj: float, ak: float, axes: str = "sxyz") -> Quaternion:
    return _xyzw(euler.euler2quat(ai, aj, ak, axes=axes))


def quaternion_about_axis(angle: float, axis: Sequence[float]) -> Quaternion:
    """Rotation by `angle` about `axis` (3,) of any length but zero."""
    return _xyzw(quaternions.axangle2quat(axis, angle))


def quaternion_multiply(quaternion1: Sequence[float], quaternion0: Sequence[float]) -> Quaternion:
    """The rotation `quaternion0` followed by `quaternion1`."""
    return _xyzw(quaternions.qmult(_wxyz(quaternion1), _wxyz(quaternion0)))


def quaternion_conjugate(quaternion: Sequence[float]) -> np.ndarray:
    return np.asarray(quaternion, dtype=np.float64) * (-1.0, -1.0, -1.0, 1.0)


def quaternion_inverse(quaternion: Sequence[float]) -> np.ndarray:
    return quaternion_conjugate(quaternion) / np.dot(quaternion, quaternion)


def euler_matrix(ai: float, aj: float, ak: float, axes: str = "sxyz") -> np.ndarray:
    """(4, 4) rotation by three Euler angles."""
    return _affine(euler.euler2mat(ai, aj, ak, axes=axes))


def euler_from_matrix(matrix: np.ndarray, axes: str = "sxyz") -> tuple[float, float, float]:
    return euler.mat2euler(matrix, axes=axes)


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
