"""The same depth everywhere, for policies that are to be shown no depth."""

import math

import numpy as np

from stvla_ros.errors import InputError
from stvla_ros.perception.depth.base import DepthEstimator
from stvla_ros.perception.types import check_rgb

NO_DEPTH = "constant"
"""Name of the backend that shows no depth."""


class ConstantDepth(DepthEstimator):
    """A plane in front of the camera.

    :param distance: metres. The default is about the distance of the table in the WidowX tasks, so that the points lie
        where a model expects points.
    :raises InputError: for a distance that is not positive.
    """

    def __init__(self, distance: float = 1.0) -> None:
        if isinstance(distance, bool) or not isinstance(distance, int | float) or not 0.0 < distance < math.inf:
            raise InputError(f"depth constant: distance: expected metres above 0, got {distance!r}")
        self._distance = np.float32(distance)

    def estimate(self, rgb: np.ndarray, sensor_depth: np.ndarray | None = None) -> np.ndarray:
        """See ``DepthEstimator.estimate``."""
        return np.full(check_rgb(rgb).shape[:2], self._distance)
