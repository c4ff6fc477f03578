"""From camera frames to the traces of moving points, with the configuration of all steps."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from stvla_ros.errors import InputError
from stvla_ros.perception.adaptive import KeyFrameRule
from stvla_ros.perception.frame_buffer import check_buffer_size
from stvla_ros.perception.moving_points import SelectionParameters, select_moving
from stvla_ros.perception.robot_view import RobotView
from stvla_ros.perception.trackers import make_tracker
from stvla_ros.perception.types import Traces


@dataclass(frozen=True)
class TrackingConfig:
    """Configuration of ``TraceTracker``.

    :param tracker: name of the tracker (``TRACKERS.names()``).
    :param buffer: number of frames b in the trace window, at least 2 (the paper's: 7, 15, 30).
    :param warm_up_frames: number of frames at the start of an episode that carry no traces (the paper's: 5).
    :param adaptive: whether the window stretches when motion is slow (``adaptive.py``).
    :param key_frames: rule that decides when a frame stays in the stretched window; used when ``adaptive``.
    :param selection: rule that decides which points become traces.
    :param tracker_parameters: parameters of the tracker by name.
    :raises InputError: for a value out of range; the tracker's name and parameters are checked when it is built.
    """

    tracker: str = "lucas_kanade"
    buffer: int = 30
    warm_up_frames: int = 5
    adaptive: bool = True
    key_frames: KeyFrameRule = KeyFrameRule()
    selection: SelectionParameters = SelectionParameters()
    tracker_parameters: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_buffer_size(self.buffer)
        if self.warm_up_frames < 0:
            raise InputError(f"warm_up_frames: expected at least 0, got {self.warm_up_frames}")


class TraceTracker:
    """Frame buffer, tracker and selection in one: it makes the traces of moving points, frame by frame.

    A frame of another size than the last one starts anew, warm-up included.

    :raises InputError: when the tracker cannot be built.
    """

    def __init__(self, config: TrackingConfig = TrackingConfig()) -> None:
        self.config = config
        self.tracker = make_tracker(
            config.tracker, config.buffer, config.key_frames if config.adaptive else None, **config.tracker_parameters
        )

    @property
    def needs_robot(self) -> bool:
        """Whether :meth:`step` needs the frame's depth and the robot's position in it."""
        return self.tracker.needs_robot

    def step(
        self, rgb: np.ndarray, stamp_ns: int, depth: np.ndarray | None = None, robot: RobotView | None = None
    ) -> Traces:
        """Take the next frame.

        :param rgb: (H, W, 3) uint8.
        :param stamp_ns: nanoseconds, larger than the last frame's.
        :param depth: (H, W) float32 metres; this and ``robot`` for trackers that need the robot.
        :return: the selected traces, (T, N); N = 0 in the first ``warm_up_frames`` frames and while nothing moves.
        :raises InputError: as ``Tracker.update``; the state stays unchanged.
        """
        traces = self.tracker.update(rgb, stamp_ns, depth, robot)
        if self.tracker.buffer.frames_seen <= self.config.warm_up_frames:
            return Traces(
                traces.points[:, :0], traces.visible[:, :0], traces.ids[:0], traces.frame_stamps, traces.image_size
            )
        return select_moving(traces, self.config.selection)

    def reset(self) -> None:
        """A new episode starts."""
        self.tracker.reset()
