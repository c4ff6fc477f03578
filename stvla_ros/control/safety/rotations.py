"""Angles between orientations, without a detour over quaternions: the difference of the matrices tells them."""

import numpy as np


def difference_angles(squares: np.ndarray) -> np.ndarray:
    """Angles between orientations, 0 to pi radians, whose matrices differ by R - S with the sum of squared entries
    ``squares``: of a turn by an angle a that is 8 sin(a / 2)^2, since R - S is as large as R S^T - 1, whose squares are
    2 (3 - trace).
    """
    return 2.0 * np.arcsin(np.minimum(np.sqrt(squares / 8.0), 1.0))


def angle_between(first: np.ndarray, second: np.ndarray) -> float:
    """0 to pi radians, of two orientations (3, 3); NaN where an entry is."""
    return float(difference_angles(np.square(first - second).sum()))
