"""Bags as the live graph records them, message by message."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from typing_extensions import Self

from stvla_ros.recordings.bag_writer import BagWriter
from stvla_ros.recordings.message_definitions import MessageDefinitions

SECOND = 1_000_000_000
START = 1_700_000_000 * SECOND + 7
RESETTING, RUNNING, SUCCEEDED, FAILED = 0, 1, 2, 3
SIZE = (8, 6)
INTRINSICS = np.array([[8.5, 0, 3.5], [0, 8.5, 2.5], [0, 0, 1]])

_TOPICS = {
    "image": "sensor_msgs/msg/Image",
    "overlay": "sensor_msgs/msg/Image",
    "sensor_depth": "sensor_msgs/msg/Image",
    "camera_info": "sensor_msgs/msg/CameraInfo",
    "command": "stvla_ros/msg/EndEffectorCommand",
    "action_chunk": "stvla_ros/msg/ActionChunk",
    "episode_state": "stvla_ros/msg/EpisodeState",
    "command_verdict": "stvla_ros/msg/CommandVerdict",
    "joint_states": "sensor_msgs/msg/JointState",
}


def rgb_of(stamp: int) -> np.ndarray:
    """The colour picture with this stamp."""
    return np.random.default_rng(stamp).integers(0, 256, (SIZE[1], SIZE[0], 3), np.uint8)


def depth_of(stamp: int) -> np.ndarray:
    """The depth with this stamp, millimetres."""
    return np.random.default_rng(stamp + 1).integers(0, 65536, (SIZE[1], SIZE[0]), np.uint16)


def command_of(stamp: int, number: int = 0) -> np.ndarray:
    """The command with this stamp: translation, rotation vector, opening. ``number`` counts those under one stamp."""
    random = np.random.default_rng(stamp + 2 + number)
    return np.array([*random.normal(0, 0.02, 3), *random.normal(0, 0.2, 3), float(random.integers(2))])


class GraphBag:
    """A bag that grows. Use as a context manager.

    :param names: of topics that were remapped.
    :param run: what its recorder wrote down.
    """

    def __init__(
        self,
        folder: Path,
        namespace: str = "",
        base_frame: str = "base_link",
        robot: str = "",
        names: Mapping[str, str] = MappingProxyType({}),
        run: Mapping[str, str] | None = None,
    ) -> None:
        self._namespace, self._names = namespace, names
        self._base_frame, self._robot = base_frame, robot
        self._definitions = MessageDefinitions()
        for name in [*_TOPICS.values(), "geometry_msgs/msg/Vector3"]:
            self._definitions.add(name)
        self._types = self._definitions.typestore.types
        self._bag = BagWriter(folder, run)
        self._time = START

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._bag.close()

    def observation(
        self,
        stamp: int,
        depth: np.ndarray | None = None,
        without: tuple[str, ...] = (),
        depth_later: int = 0,
        pictures: tuple[np.ndarray, np.ndarray] | None = None,
    ) -> None:
        """
        :param pictures: colour and depth in place of ``rgb_of`` and ``depth_of``.
        :param depth: in place of ``depth_of``.
        :param without: topics to leave out.
        :param depth_later: by which the depth's stamp differs, ns.
        """
        rgb, own_depth = pictures or (rgb_of(stamp), depth_of(stamp))
        depth = own_depth if depth is None else depth
        header, (height, width) = self._header(stamp, "camera"), rgb.shape[:2]
        info = {"height": height, "width": width, "distortion_model": "plumb_bob", "d": np.zeros(5)}
        info |= {"k": INTRINSICS.reshape(9), "r": np.eye(3).reshape(9), "p": np.zeros(12)}
        roi = self._make(
            "sensor_msgs/msg/RegionOfInterest", x_offset=0, y_offset=0, height=0, width=0, do_rectify=False
        )
        messages = {
            "camera_info": {"header": header, "binning_x": 0, "binning_y": 0, "roi": roi, **info},
            "sensor_depth": self._picture(
                self._header(stamp + depth_later, "camera"), depth, "16UC1" if depth.dtype == np.uint16 else "32FC1"
            ),
            "image": self._picture(header, rgb, "rgb8"),
            "overlay": self._picture(header, rgb, "rgb8"),
        }
        for topic, fields in messages.items():
            if topic not in without:
                self._write(topic, fields)

    def command(self, stamp: int, number: int = 0, goal: int = 7, at: int = 0, **changes: Any) -> None:
        """
        :param goal: which it belongs to.
        :param at: when it is recorded, ns; 0: a millisecond after the message before it.
        """
        self._time = at - 1_000_000 if at else self._time
        values = command_of(stamp, number)
        fields = {"translation": self._vector(values[:3]), "rotation": self._vector(values[3:6]), "gripper": values[6]}
        fields |= {"header": self._header(stamp, self._base_frame)}
        if "robot" in self._types[_TOPICS["command"]].__dataclass_fields__:  # older graphs recorded none
            accepted = self._make("builtin_interfaces/msg/Time", sec=START // SECOND, nanosec=0)
            fields |= {"robot": self._robot, "goal_id": self._goal(goal), "goal_stamp": accepted}
        self._write("command", {**fields, **changes})

    def joints(self, stamp: int, positions: Mapping[str, float]) -> None:
        values = np.array(list(positions.values()), np.float64)
        fields = {"header": self._header(stamp, ""), "name": list(positions), "position": values}
        self._write("joint_states", {**fields, "velocity": np.zeros(0), "effort": np.zeros(0)})

    def verdict(self, stamp: int, executed: bool, goal: int = 7) -> None:
        zero = self._make("builtin_interfaces/msg/Time", sec=0, nanosec=0)
        fields = {"header": self._header(stamp, self._base_frame), "goal_id": self._goal(goal), "executed": executed}
        moved = {"translation": self._vector(np.zeros(3)), "rotation": self._vector(np.zeros(3)), "moved_at": zero}
        self._write("command_verdict", {**fields, "clipped": [], "refused": "" if executed else "reach", **moved})

    def _goal(self, number: int) -> Any:
        return self._make("unique_identifier_msgs/msg/UUID", uuid=np.full(16, number, np.uint8))

    def chunk(self, stamp: int, period_ns: int) -> None:
        period = self._make("builtin_interfaces/msg/Duration", sec=period_ns // SECOND, nanosec=period_ns % SECOND)
        header = self._header(stamp, self._base_frame)
        self._write("action_chunk", {"header": header, "policy": "expert", "period": period, "actions": []})

    def state(self, stamp: int, phase: int, index: int, step: int, instruction: str = "stack the cubes") -> None:
        fields = {
            "task": "stack_cube",
            "instruction": instruction,
            "episode_id": 10 + index,
            "index": index,
            "total": 2,
        }
        fields |= {"step": step, "max_steps": 60, "phase": phase, "reason": ""}
        self._write("episode_state", {"header": self._header(stamp, self._base_frame), **fields})

    def _vector(self, values: np.ndarray) -> Any:
        return self._make("geometry_msgs/msg/Vector3", x=values[0], y=values[1], z=values[2])

    def _header(self, stamp: int, frame: str) -> Any:
        time = self._make("builtin_interfaces/msg/Time", sec=stamp // SECOND, nanosec=stamp % SECOND)
        return self._make("std_msgs/msg/Header", stamp=time, frame_id=frame)

    def _picture(self, header: Any, picture: np.ndarray, encoding: str) -> dict[str, Any]:
        size = {"height": picture.shape[0], "width": picture.shape[1], "step": picture[0].nbytes}
        return {
            "header": header,
            "encoding": encoding,
            "is_bigendian": 0,
            "data": picture.reshape(-1).view(np.uint8),
            **size,
        }

    def _make(self, type_name: str, **fields: Any) -> Any:
        return self._types[type_name](**fields)

    def _write(self, name: str, fields: dict[str, Any]) -> None:
        topic, type_name = self._names.get(name, f"{self._namespace}/{name}"), _TOPICS[name]
        if topic not in self._bag.topics:
            self._bag.add_topic(topic, type_name)
        self._time += 1_000_000
        if "run" in self._types[type_name].__dataclass_fields__:  # nobody's in particular
            fields = {"run": "", **fields}
        message = self._make(type_name, **fields)
        self._bag.write(topic, self._time, bytes(self._definitions.typestore.serialize_cdr(message, type_name)))


def record_episode(bag: GraphBag, stamps: list[int], index: int = 0, outcome: int = SUCCEEDED, **options: Any) -> None:
    """As ``sim_bridge`` in lockstep: each observation is answered, except the last of ``stamps``.

    :param options: for every observation.
    """
    bag.state(stamps[0] - 1_000_000, RESETTING, index, 0)
    for step, stamp in enumerate(stamps[:-1]):
        bag.state(stamp, RUNNING, index, step)
        bag.observation(stamp, **options)
        bag.chunk(stamp, SECOND // 5)
        bag.command(stamp)
    bag.state(stamps[-1], outcome, index, len(stamps) - 1)
    bag.observation(stamps[-1], **options)
