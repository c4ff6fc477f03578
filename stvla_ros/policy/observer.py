"""From a simulator's observation to what the policy is given, as the nodes of the live graph do it."""

from dataclasses import dataclass

import numpy as np

from stvla_ros.acting.setup import EvaluatedPolicy
from stvla_ros.perception.compositor import CompositorConfig
from stvla_ros.perception.depth import make_depth_estimator
from stvla_ros.perception.depth.base import without_invalid
from stvla_ros.perception.overlay import draw_traces
from stvla_ros.perception.spatial_traces import SpatialTraces, SpatialTracesConfig
from stvla_ros.perception.tracking import TrackingConfig
from stvla_ros.perception.types import TracedDepth, Traces
from stvla_ros.policy.base import PolicyInput


@dataclass(frozen=True)
class Seen:
    """What one observation became.

    :param given: for the policy.
    :param traces: the traces in it, if there are any.
    :param traced_depth: (S, S) float32 metres, if the traces were drawn on the depth.
    """

    given: PolicyInput
    traces: Traces | None = None
    traced_depth: np.ndarray | None = None


class Observer:
    """The perception of one policy. Not thread-safe.

    :raises InputError: when a stage of the perception cannot be made.
    """

    def __init__(self, policy: EvaluatedPolicy) -> None:
        self._mode = policy.traces
        tracking = TrackingConfig(
            tracker=policy.tracker,
            buffer=policy.buffer,
            adaptive=policy.adaptive,
            tracker_parameters=policy.tracker_parameters,
        )
        self._whole = self._depth = None
        if policy.traces == "none":
            # Traces that nobody sees are not made.
            self._depth = make_depth_estimator(policy.depth, **policy.depth_parameters)
        else:
            compositor = CompositorConfig(variant=policy.variant)
            self._whole = SpatialTraces(
                SpatialTracesConfig(tracking, policy.depth, policy.depth_parameters, compositor)
            )

    def reset(self) -> None:
        """A new episode starts."""
        if self._whole is not None:
            self._whole.reset()

    def observe(
        self,
        rgb: np.ndarray,
        sensor_depth: np.ndarray | None,
        intrinsics: np.ndarray | None,
        stamp: int,
        instruction: str,
    ) -> Seen:
        """
        :param rgb: (H, W, 3) uint8.
        :param sensor_depth: (H, W) uint16 millimetres or float32 metres.
        :param intrinsics: (3, 3), pixels of H x W; None lets the policy take its own.
        :param stamp: nanoseconds, larger than the last one of the episode.
        :raises InputError: for a picture or depth that cannot be used.
        """
        traces = traced = None
        if self._whole is not None:
            result = self._whole.step(rgb, stamp, sensor_depth)
            traces, traced, depth = result.traces, result.traced_depth, self._choose(result)
        else:
            depth = without_invalid(self._depth.estimate(rgb, sensor_depth))
        picture = draw_traces(rgb, traces) if self._mode == "rgb" else rgb
        return Seen(PolicyInput.of(stamp, picture, depth, intrinsics, instruction), traces, traced)

    def _choose(self, result: TracedDepth) -> np.ndarray:
        return result.traced_depth if self._mode == "depth" else without_invalid(result.depth)
