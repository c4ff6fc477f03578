"""The interface of a tracker, and the registry of trackers by name."""

import importlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any, ClassVar

import numpy as np

from stvla_ros.errors import InputError, reason_of
from stvla_ros.perception.adaptive import KeyFrameRule
from stvla_ros.perception.frame_buffer import FrameBuffer
from stvla_ros.perception.robot_view import RobotView
from stvla_ros.perception.types import Traces, check_rgb
from stvla_ros.plugins import Registry, subclass_of

MIN_SIDE = 32  # px; below this no window around a point fits the picture


class Tracker(ABC):
    """Follows points through a stream of frames. One object serves one camera; it is not thread-safe.

    A subclass names its parameters in a frozen dataclass ``Parameters`` that checks itself, and implements ``_track``,
    ``_query`` and ``_forget``. A frame of another size than the last one starts anew, as ``reset`` does, but ids are
    not reused.

    :param buffer: buffer that keeps the track state of the last frames.
    :param parameters: an instance of ``Parameters``.
    """

    Parameters: ClassVar[type]
    needs_robot: ClassVar[bool] = False
    """Whether each frame must come with the robot's position in it. Such a tracker implements ``_see``."""

    def __init__(self, buffer: FrameBuffer, parameters: Any) -> None:
        self.buffer = buffer
        self.parameters = parameters
        self._next_id = 0

    def update(
        self, rgb: np.ndarray, stamp_ns: int, depth: np.ndarray | None = None, robot: RobotView | None = None
    ) -> Traces:
        """Take the next frame.

        :param rgb: (H, W, 3) uint8.
        :param stamp_ns: nanoseconds, larger than the last frame's.
        :param depth: (H, W) float32 metres, 0 or NaN where unknown; only trackers that need the robot use it.
        :param robot: position of the robot in the picture, for trackers that need it.
        :return: all points followed now, (T, N) with T at most the buffer's size, the last row for this frame.
        :raises InputError: for a bad picture, a stamp that does not increase, a depth of another size, or a robot that
            is missing; the state stays as it was.
        """
        check_rgb(rgb, MIN_SIDE)
        self.buffer.check_stamp(stamp_ns)
        if self.needs_robot:
            if robot is None:
                raise InputError("tracker: expected the robot's position with each frame, got none")
            if depth is not None and depth.shape != rgb.shape[:2]:
                raise InputError(f"depth: expected the picture's shape {rgb.shape[:2]}, got {depth.shape}")
        size = (rgb.shape[1], rgb.shape[0])
        if self.buffer.image_size not in (None, size):
            self.buffer.reset()
            self._forget()
        if robot is not None and self.needs_robot:
            self._see(robot, depth)
        return self._track(rgb, int(stamp_ns))

    def query(self, points: np.ndarray) -> np.ndarray:
        """Also follow these points, from the newest frame on until the next reset; ``update`` lists them.

        :param points: (N, 2) x and y in pixels of the newest frame.
        :return: (N,) uint32, their ids.
        :raises InputError: before the first frame, for a wrong shape or for points outside the picture.
        """
        points = np.asarray(points, np.float32)
        if self.buffer.image_size is None:
            raise InputError("query: expected a frame before the points")
        if points.ndim != 2 or points.shape[1] != 2:
            raise InputError(f"query points: expected shape (N, 2), got {points.shape}")
        width, height = self.buffer.image_size
        if not ((points >= 0) & (points <= (width - 1, height - 1))).all():
            raise InputError(f"query points: expected x in 0..{width - 1} and y in 0..{height - 1}")
        ids = self._new_ids(len(points))
        self._query(ids, points)
        return ids

    def reset(self) -> None:
        """Forget everything: a new episode starts, ids count from 0 again."""
        self.buffer.reset()
        self._forget()
        self._next_id = 0

    def _new_ids(self, count: int) -> np.ndarray:
        ids = np.arange(self._next_id, self._next_id + count, dtype=np.uint32)
        self._next_id += count
        return ids

    def _see(self, robot: RobotView, depth: np.ndarray | None) -> None:
        """Take robot and depth of the frame that ``_track`` gets next."""

    @abstractmethod
    def _track(self, rgb: np.ndarray, stamp_ns: int) -> Traces:
        """Take a checked frame and return the buffer's traces."""

    @abstractmethod
    def _query(self, ids: np.ndarray, points: np.ndarray) -> None:
        """Take checked points of the newest frame. They are never given up, even while they are not seen."""

    @abstractmethod
    def _forget(self) -> None:
        """Drop all state other than the buffer and the id counter."""


def _is_tracker(thing: Any) -> bool:
    return subclass_of(Tracker)(thing) and is_dataclass(getattr(thing, "Parameters", None))


TRACKERS: Registry[type[Tracker]] = Registry(
    kind="tracker",
    group="trackers",
    built_in={
        "lucas_kanade": "stvla_ros.perception.trackers.lucas_kanade:LucasKanade",
        "kinematic": "stvla_ros.perception.trackers.kinematic:Kinematic",
        "cotracker": "stvla_ros.perception.trackers.cotracker:CoTracker",
        "tapnext": "stvla_ros.perception.trackers.tapnext:TapNext",
    },
    expected="a subclass of Tracker with _track, _query, _forget and a dataclass Parameters",
    fits=_is_tracker,
)
# Places of the parameters of trackers whose own module takes seconds to import.
_LIGHT_PARAMETERS = {
    "cotracker": "stvla_ros.perception.trackers.cotracker_parameters:CoTrackerParameters",
    "tapnext": "stvla_ros.perception.trackers.tapnext_parameters:TapNextParameters",
}


def make_tracker(name: str, buffer: int = 30, key_rule: KeyFrameRule | None = None, **parameters: Any) -> Tracker:
    """Build a tracker.

    :param name: one of ``TRACKERS.names()``.
    :param buffer: frames in the trace window, at least 2.
    :param key_rule: rule that decides which frames stay in the window; None keeps every frame.
    :param parameters: parameters of the tracker.
    :raises InputError: for an unknown name or parameter, or anything that the tracker itself refuses.
    """
    target = TRACKERS.find(name)
    return target(FrameBuffer(buffer, key_rule), _fill(name, target.Parameters, parameters))


def check_tracker(name: str, parameters: Mapping[str, Any]) -> None:
    """Refuse now what :func:`make_tracker` would refuse. Loads no network.

    :param parameters: parameters of the tracker.
    :raises InputError: as :func:`make_tracker`.
    """
    TRACKERS.check(name)
    if light := _LIGHT_PARAMETERS.get(name):
        module, _, attribute = light.partition(":")
        kind = getattr(importlib.import_module(module), attribute)
    else:
        kind = TRACKERS.find(name).Parameters
    made = _fill(name, kind, parameters)
    if check := getattr(made, "check_installed", None):
        check()


def _fill(name: str, kind: type[Any], parameters: Mapping[str, Any]) -> Any:
    """The tracker's parameters. :raises InputError: naming the one that is unknown or cannot be used."""
    known = [field.name for field in fields(kind)]
    for key in parameters:
        if key not in known:
            raise InputError(f"tracker {name}: unknown parameter {key!r}, expected one of {', '.join(known)}")
    try:
        return kind(**parameters)
    except TypeError as error:  # a text where a number is compared
        raise InputError(f"tracker {name}: {reason_of(error)}, got {dict(parameters)}") from error
