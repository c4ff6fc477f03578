"""From a camera's frame to what the policy is given: in evaluation and training, and which topics these are live."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from stvla_ros.perception.depth import make_depth_estimator
from stvla_ros.perception.depth.base import without_invalid
from stvla_ros.perception.overlay import draw_traces
from stvla_ros.perception.robot_view import RobotView
from stvla_ros.perception.spatial_traces import SpatialTraces
from stvla_ros.perception.types import TracedDepth, Traces
from stvla_ros.policy.base import MAIN_CAMERA, Picture, PolicyInput
from stvla_ros.policy.inputs import BESIDE, InputsConfig
from stvla_ros.policy.thoughts import Thought


@dataclass(frozen=True)
class Seen:
    """What one observation became.

    :param given: for the policy.
    :param traces: the traces in it, if there are any.
    :param traced_depth: (S, S) float32 metres, if the traces were drawn on the depth.
    :param thoughts: what the policy thought last in this episode, by name.
    """

    given: PolicyInput
    traces: Traces | None = None
    traced_depth: np.ndarray | None = None
    thoughts: Mapping[str, Thought] = field(default_factory=dict)


@dataclass(frozen=True)
class View:
    """Which picture and which depth a policy sees, by the names of their topics.

    :param picture: ``image``, or ``overlay``: the image with the traces on it.
    :param depth: ``depth``, metres; or ``traced_depth``: the traces drawn on them, on a square map.
    :param traces: whether it gets the ``traces`` themselves.
    """

    picture: str
    depth: str
    traces: bool = False

    def of(self, rgb: np.ndarray, traced: TracedDepth, perception: SpatialTraces) -> Picture:
        """
        :param rgb: (H, W, 3) uint8, the camera's.
        :param traced: what the perception made of it.
        :param perception: this perception.
        :returns: the policy's picture, without intrinsics.
        """
        picture = draw_traces(rgb, traced.traces) if self.picture == "overlay" else rgb
        depth = traced.traced_depth if self.depth == "traced_depth" else without_invalid(traced.depth)
        return Picture(picture, depth, None, perception.in_depth(traced.traces) if self.traces else None)


# By ``InputsConfig.traces``.
VIEWS = {
    "none": View("image", "depth"),
    "depth": View("image", "traced_depth"),
    "rgb": View("overlay", "depth"),
    BESIDE: View("image", "depth", traces=True),
}


class Observer:
    """The perception of one policy. Not thread-safe.

    :param inputs: what it is shown.
    :param rendered: False where a simulator draws no pictures, as nobody looks at them; the policy is given none.
    :raises InputError: when a stage of the perception cannot be made.
    """

    def __init__(self, inputs: InputsConfig, rendered: bool = True) -> None:
        self._rendered = rendered
        self._view = VIEWS[inputs.traces]
        self._whole = self._depth = None
        if inputs.traces == "none":
            # Traces that nobody sees are not made.
            self._depth = make_depth_estimator(inputs.depth, **inputs.depth_parameters)
        else:
            self._whole = SpatialTraces(inputs.perception())

    @property
    def needs_robot(self) -> bool:
        """Whether :meth:`observe` wants to know where the robot is."""
        return self._whole is not None and self._whole.needs_robot

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
        robot: RobotView | None = None,
    ) -> Seen:
        """
        :param rgb: (H, W, 3) uint8.
        :param sensor_depth: (H, W) uint16 millimetres or float32 metres.
        :param intrinsics: (3, 3), pixels of H x W; None lets the policy take its own.
        :param stamp: nanoseconds, larger than the last one of the episode.
        :param robot: where the robot is in the picture, for trackers that need it.
        :raises InputError: for a picture or depth that cannot be used.
        """
        if not self._rendered:
            return Seen(PolicyInput(stamp, {}, instruction))
        if self._whole is None:
            depth = without_invalid(self._depth.estimate(rgb, sensor_depth))
            return Seen(PolicyInput.of(stamp, rgb, depth, intrinsics, instruction))
        result = self._whole.step(rgb, stamp, sensor_depth, robot)
        picture = replace(self._view.of(rgb, result, self._whole), intrinsics=intrinsics)
        return Seen(PolicyInput(stamp, {MAIN_CAMERA: picture}, instruction), result.traces, result.traced_depth)
