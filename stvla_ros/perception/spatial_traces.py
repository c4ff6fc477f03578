"""The whole perception as plain Python: camera frame in, depth map with traces out.

It consists of the same objects that the tracker, depth and compositor nodes use, so that the live graph, training and
evaluation give the same maps, bit for bit, for the same frames.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from stvla_ros.perception.compositor import Compositor, CompositorConfig
from stvla_ros.perception.depth import make_depth_estimator
from stvla_ros.perception.robot_view import RobotView
from stvla_ros.perception.tracking import TraceTracker, TrackingConfig
from stvla_ros.perception.types import TracedDepth, Traces, TracesInDepth


@dataclass(frozen=True)
class SpatialTracesConfig:
    """Configuration of ``SpatialTraces``.

    :param tracking: frame buffer, tracker and selection.
    :param depth: name of the depth backend (``DEPTH_ESTIMATORS.names()``).
    :param depth_parameters: parameters of the backend by name.
    :param compositor: options of drawing the traces.
    """

    tracking: TrackingConfig = TrackingConfig()
    depth: str = "sensor"
    depth_parameters: Mapping[str, Any] = field(default_factory=dict)
    compositor: CompositorConfig = CompositorConfig()


class SpatialTraces:
    """Frame buffer, tracker, depth and compositor in one. Not thread-safe.

    :raises InputError: when a stage cannot be built.
    """

    def __init__(self, config: SpatialTracesConfig = SpatialTracesConfig()) -> None:
        self.config = config
        self.tracker = TraceTracker(config.tracking)
        self.depth_estimator = make_depth_estimator(config.depth, **config.depth_parameters)
        self.compositor = Compositor(config.compositor)

    @property
    def needs_robot(self) -> bool:
        """Whether :meth:`step` needs to know where the robot is."""
        return self.tracker.needs_robot or self.compositor.needs_robot

    def step(
        self,
        rgb: np.ndarray,
        stamp: int,
        sensor_depth: np.ndarray | None = None,
        robot: RobotView | None = None,
    ) -> TracedDepth:
        """Take the next frame.

        :param rgb: (H, W, 3) uint8.
        :param stamp: nanoseconds, larger than the last frame's.
        :param sensor_depth: (H, W) uint16 millimetres or float32 metres; only the ``sensor`` backend needs one.
        :param robot: position of the robot in the picture, if ``needs_robot``.
        :raises InputError: for input that a stage refuses; then no stage has taken the frame.
        """
        # Depth first: it keeps no state. After a bad depth the tracker is unchanged, and the stamp can be sent again.
        depth = self.depth_estimator.estimate(rgb, sensor_depth)
        traces = self.tracker.step(rgb, stamp, depth, robot)
        return TracedDepth(traces.stamp, self.compositor.step(traces, depth, robot), depth, traces)

    def in_depth(self, traces: Traces) -> TracesInDepth:
        """Traces of the last step with the depth at which each vertex was seen, on a map of the compositor's size."""
        return TracesInDepth(traces, self.compositor.vertex_depths(traces))

    def reset(self) -> None:
        """A new episode starts."""
        self.tracker.reset()
        self.compositor.reset()
