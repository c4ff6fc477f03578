"""Turns a camera's frame into the policy's input, in evaluation and training; and which topics these inputs are in the
live graph.
"""

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
    """The result of one observation.

    :param given: input for the policy.
    :param traces: the traces in it, if there are any.
    :param traced_depth: (S, S) float32 metres, with the traces drawn in; None if they are drawn elsewhere.
    :param thoughts: latest thoughts of the policy in this episode, by name.
    """

    given: PolicyInput
    traces: Traces | None = None
    traced_depth: np.ndarray | None = None
    thoughts: Mapping[str, Thought] = field(default_factory=dict)


@dataclass(frozen=True)
class View:
    """The picture and the depth that a policy sees, by the names of their topics.

    :param picture: topic of the picture: ``image``, or ``overlay``, the image with the traces on it.
    :param depth: topic of the depth: ``depth`` in metres, or ``traced_depth``, the same with the traces drawn in, on a
        square map.
    :param traces: whether the policy gets the ``traces`` as numbers.
    """

    picture: str
    depth: str
    traces: bool = False

    def of(self, rgb: np.ndarray, traced: TracedDepth, perception: SpatialTraces) -> Picture:
        """
        :param rgb: (H, W, 3) uint8, the camera's picture.
        :param traced: result of the perception for this picture.
        :param perception: perception that made ``traced``.
        :returns: the policy's picture, without intrinsics.
        """
        picture = draw_traces(rgb, traced.traces) if self.picture == "overlay" else rgb
        depth = traced.traced_depth if self.depth == "traced_depth" else without_invalid(traced.depth)
        return Picture(picture, depth, None, perception.in_depth(traced.traces) if self.traces else None)


# The view for each value of ``InputsConfig.traces``.
VIEWS = {
    "none": View("image", "depth"),
    "depth": View("image", "traced_depth"),
    "rgb": View("overlay", "depth"),
    BESIDE: View("image", "depth", traces=True),
}


class Observer:
    """The perception of one policy. Not thread-safe.

    :param inputs: inputs of the policy.
    :param rendered: False where a simulator draws no pictures because nobody looks at them; the policy is then given
        none.
    :raises InputError: when a stage of the perception cannot be made.
    """

    def __init__(self, inputs: InputsConfig, rendered: bool = True) -> None:
        self._rendered = rendered
        self._view = VIEWS[inputs.traces]
        self._whole = self._depth = None
        if inputs.traces == "none":
            # Traces that nobody sees are not computed.
            self._depth = make_depth_estimator(inputs.depth, **inputs.depth_parameters)
        else:
            self._whole = SpatialTraces(inputs.perception())

    @property
    def needs_robot(self) -> bool:
        """Whether :meth:`observe` needs to know where the robot is."""
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
        :param intrinsics: (3, 3), pixels of H x W; with None the policy uses its own.
        :param stamp: nanoseconds, larger than the last one of the episode.
        :param robot: position of the robot in the picture, for trackers that need it.
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
