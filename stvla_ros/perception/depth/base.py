"""The interface of every depth backend, and their common checks."""

from abc import ABC, abstractmethod

import numpy as np


class DepthEstimator(ABC):
    """Estimates the metric depth of one frame. Holds no state between frames."""

    needs_sensor: bool = False
    """Whether ``estimate`` needs a ``sensor_depth``."""

    @abstractmethod
    def estimate(self, rgb: np.ndarray, sensor_depth: np.ndarray | None = None) -> np.ndarray:
        """Metric depth, registered to the picture.

        :param rgb: (H, W, 3) uint8.
        :param sensor_depth: (H, W) uint16 millimetres or float32 metres, if a sensor supplied one.
        :returns: (H, W) float32 metres along the optical axis; 0 where unknown (REP-118 allows 0 or NaN; all backends
            give 0).
        :raises InputError: for a picture or sensor depth that cannot be used.
        """


def without_invalid(depth: np.ndarray) -> np.ndarray:
    """
    :param depth: float32 metres; REP-118 marks unknown by NaN, too near by -Inf, too far by +Inf.
    :returns: a new array in which all of these, and everything not positive, is 0: values at either end of the range
        tell no distance.
    """
    return np.where(np.isfinite(depth) & (depth > 0), depth, np.float32(0))
