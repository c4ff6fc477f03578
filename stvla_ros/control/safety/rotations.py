"""Angles between orientations, computed from the difference of their matrices, without quaternions."""

import numpy as np


def difference_angles(squares: np.ndarray) -> np.ndarray:
    """Angles between orientations, 0 to pi radians, from ``squares``, the sum of the squared entries of R - S. For a
    rotation by an angle a this sum is 8 sin(a / 2)^2, because R - S has the same norm as R S^T - 1, whose squared
    entries sum up to 2 (3 - trace).
    """
    return 2.0 * np.arcsin(np.minimum(np.sqrt(squares / 8.0), 1.0))


def angle_between(first: np.ndarray, second: np.ndarray) -> float:
    """The angle between two orientations (3, 3), 0 to pi radians; NaN if an entry is NaN."""
    return float(difference_angles(np.square(first - second).sum()))
