"""One demonstration in memory, and the names of its parts in a LeRobotDataset."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from stvla_ros.control.actions import EndEffectorAction
from stvla_ros.errors import InputError
from stvla_ros.policy.samples import SCENE_POINTS
from stvla_ros.policy.samples import SCENE_POINTS_FEATURE as SCENE_POINTS_FEATURE
from stvla_ros.safe_files import check_instruction
from stvla_ros.sim.environment import Observation

PICTURE = "observation.images.camera"
DEPTH = "observation.images.depth"
INTRINSICS = "observation.intrinsics"
STATE = "observation.state"
ACTION = "action"
EXECUTED_ACTION = "executed_action"
# Nanoseconds since the episode's first frame. LeRobot's own `timestamp` is only the frame's index divided by the rate.
STAMP = "stamp"

ACTION_NAMES = ("x", "y", "z", "roll", "pitch", "yaw", "gripper")


@dataclass(frozen=True, eq=False)
class SeenFrame:
    """One frame of an episode, as perception takes it.

    :param stamp: nanoseconds.
    :param rgb: (H, W, 3) uint8.
    :param depth: (H, W) uint16 millimetres or float32 metres; None where there is none.
    :param intrinsics: (3, 3) in pixels of ``rgb``; None where unknown.
    """

    stamp: int
    rgb: np.ndarray
    depth: np.ndarray | None
    intrinsics: np.ndarray | None


@dataclass(frozen=True, eq=False)
class Demonstration:
    """T frames of one episode, one per control step.

    :param rgb: (T, H, W, 3) uint8.
    :param depth: (T, H, W) uint16 millimetres registered to ``rgb``, 0 where unknown; None if there is none.
    :param intrinsics: (3, 3) float64 pinhole matrix in pixels of ``rgb``; None where unknown.
    :param stamps: (T,) int64 nanoseconds since the first frame, increasing.
    :param action: (T, 7) float32, action that should follow each frame (NaN where it is not known and nobody needs
        it): x y z metres, roll pitch yaw radians about the fixed axes (the OXE convention), relative to the target
        pose in the base frame; gripper 0 closed to 1 open.
    :param instruction: instruction of the robot.
    :param fps: frames (control steps) a second.
    :param success: whether the episode ended in success.
    :param executed_action: (T, 7) as ``action``: executed action, if it differs from the one that should have been
        executed.
    :param state: (T, 7) float32, pose of the tool point in the base frame (x y z metres, roll pitch yaw radians) and
        gripper opening.
    :param scene_points: (T, 3, 3) float32, positions of ``SCENE_POINTS`` in the camera's optical frame (REP-103),
        metres: privileged knowledge of a simulator.
    :param source: origin of the episode (task, seed, placement, …), in types that JSON can hold.
    :raises InputError: for shapes or types that do not fit together.
    """

    rgb: np.ndarray
    depth: np.ndarray | None
    intrinsics: np.ndarray | None
    stamps: np.ndarray
    action: np.ndarray
    instruction: str
    fps: float
    success: bool = True
    executed_action: np.ndarray | None = None
    state: np.ndarray | None = None
    scene_points: np.ndarray | None = None
    source: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        frames = len(self.rgb)
        expected: dict[str, tuple[tuple[int, ...], type]] = {
            "rgb": ((frames, *self.rgb.shape[1:3], 3), np.uint8),
            "depth": (self.rgb.shape[:3], np.uint16),
            "intrinsics": ((3, 3), np.float64),
            "stamps": ((frames,), np.int64),
            "action": ((frames, len(ACTION_NAMES)), np.float32),
            "executed_action": ((frames, len(ACTION_NAMES)), np.float32),
            "state": ((frames, len(ACTION_NAMES)), np.float32),
            "scene_points": ((frames, len(SCENE_POINTS), 3), np.float32),
        }
        optional = ("depth", "intrinsics", "executed_action", "state", "scene_points")
        for name, (shape, dtype) in expected.items():
            value = getattr(self, name)
            if value is None and name in optional:
                continue
            if not isinstance(value, np.ndarray) or value.shape != shape or value.dtype != dtype:
                got = f"{value.dtype} {value.shape}" if isinstance(value, np.ndarray) else type(value).__name__
                raise InputError(f"demonstration {name}: expected {np.dtype(dtype)} {shape}, got {got}")
        check_instruction(self.instruction, "demonstration instruction")
        if frames < 1:
            raise InputError("demonstration rgb: expected at least 1 frame, got 0")
        if (np.diff(self.stamps) <= 0).any():
            raise InputError("demonstration stamps: expected them to increase")

    def __len__(self) -> int:
        return len(self.rgb)

    def frames(self) -> Iterator[SeenFrame]:
        """One after the other."""
        for number, rgb in enumerate(self.rgb):
            depth = None if self.depth is None else self.depth[number]
            yield SeenFrame(int(self.stamps[number]), rgb, depth, self.intrinsics)


def depth_to_millimetres(depth: np.ndarray) -> np.ndarray:
    """(H, W) uint16 millimetres, 0 unknown, as ``Demonstration.depth``.

    :param depth: (H, W) uint16 millimetres, or float metres, in which NaN, infinity, negative numbers and depths too
        large for uint16 (65.535 m) are unknown.
    """
    if depth.dtype == np.uint16:
        return depth
    millimetres = np.round(1000.0 * depth.astype(np.float64))
    known = np.isfinite(millimetres) & (millimetres > 0) & (millimetres <= np.iinfo(np.uint16).max)
    return np.where(known, millimetres, 0).astype(np.uint16)


def action_row(action: EndEffectorAction) -> np.ndarray:
    """(7,) float32: x y z metres, roll pitch yaw radians about the fixed axes, gripper 0..1 (the OXE convention)."""
    angles = Rotation.from_rotvec(action.rotation).as_euler("xyz")
    return np.array([*action.translation, *angles, action.gripper], dtype=np.float32)


def state_row(observation: Observation) -> np.ndarray:
    """(7,) float32: pose of the tool point in the base frame and opening, as ``Demonstration.state``."""
    pose = observation.base_from_gripper
    angles = Rotation.from_matrix(pose[:3, :3]).as_euler("xyz")
    return np.array([*pose[:3, 3], *angles, observation.gripper], dtype=np.float32)
