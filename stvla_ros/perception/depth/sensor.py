"""Depth from an RGB-D camera or a simulator."""

import numpy as np

from stvla_ros.errors import InputError
from stvla_ros.perception.depth.base import DepthEstimator, without_invalid
from stvla_ros.perception.types import check_rgb


class SensorDepth(DepthEstimator):
    """Passes a sensor's depth on in metres. Never resizes: a map that does not fit the picture is an error."""

    needs_sensor = True

    def estimate(self, rgb: np.ndarray, sensor_depth: np.ndarray | None = None) -> np.ndarray:
        """See ``DepthEstimator.estimate``. A missing map is an error; NaN, +-Inf and negative depths become 0."""
        check_rgb(rgb)
        if sensor_depth is None:
            raise InputError("sensor_depth: expected depth with the frame's stamp, got none")
        if sensor_depth.shape != rgb.shape[:2]:
            raise InputError(
                f"sensor_depth: expected the image's size {rgb.shape[1]}x{rgb.shape[0]} (registered depth), "
                f"got shape {sensor_depth.shape}"
            )
        if sensor_depth.dtype == np.uint16:
            return sensor_depth * np.float32(1e-3)
        if sensor_depth.dtype == np.float32:
            return without_invalid(sensor_depth)
        raise InputError(f"sensor_depth: expected uint16 millimetres or float32 metres, got {sensor_depth.dtype}")
