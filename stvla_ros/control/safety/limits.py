"""The limits that the safety gate holds a robot to. docs/explanation/safety.md gives the reason for each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from stvla_ros.errors import InputError


@dataclass(frozen=True)
class Box:
    """An axis-aligned box in the robot's base frame.

    :param low: its least x, y, z, metres.
    :param high: its greatest.
    :raises InputError: for numbers that make no box.
    """

    low: tuple[float, ...]
    high: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.low) != 3 or len(self.high) != 3 or not all(a < b for a, b in zip(self.low, self.high)):
            raise InputError(f"expected low < high, three numbers (m) each, got {self.low} and {self.high}")

    def outside(self, points: np.ndarray) -> np.ndarray:
        """How far the points (..., 3) lie outside, metres along the worst axis; 0 inside."""
        return np.maximum(np.maximum(self.low - points, points - self.high).max(axis=-1), 0.0)

    def inside(self, points: np.ndarray) -> np.ndarray:
        """How deep the points (..., 3) lie inside, metres to the nearest face; 0 outside."""
        return np.maximum(np.minimum(points - self.low, self.high - points).min(axis=-1), 0.0)

    def clamp(self, point: np.ndarray) -> np.ndarray:
        """The nearest point (3,) of the box."""
        return np.clip(point, self.low, self.high)

    def grown(self, by: float) -> "Box":
        """:param by: metres on every side."""
        return Box(tuple(value - by for value in self.low), tuple(value + by for value in self.high))


@dataclass(frozen=True)
class JointLimits:
    """Of one coordinate; radians or metres, and seconds.

    :param lower: hard limit of the position.
    :param upper: hard limit of the position.
    :raises InputError: for limits that leave no motion.
    """

    lower: float
    upper: float
    velocity: float
    acceleration: float
    jerk: float

    def __post_init__(self) -> None:
        if not self.lower < self.upper:
            raise InputError(f"expected lower < upper, got {self.lower} and {self.upper}")
        for name in ("velocity", "acceleration", "jerk"):
            if not 0.0 < getattr(self, name) < 1e6:
                raise InputError(f"{name}: expected more than 0, got {getattr(self, name)}")

    @property
    def longest_stop_s(self) -> float:
        """Seconds to rest from full speed and full acceleration in the direction of motion: the acceleration falls to
        zero (while it does, the speed still rises, to the limit at most), then a jerk-limited brake.
        """
        if self.velocity >= self.acceleration**2 / self.jerk:
            brake = self.velocity / self.acceleration + self.acceleration / self.jerk
        else:
            brake = 2.0 * float(np.sqrt(self.velocity / self.jerk))
        return self.acceleration / self.jerk + brake


@dataclass(frozen=True)
class SafetyLimits:
    """
    :param joints: by name of the coordinate.
    :param joint_margin: distance that is kept from the position limits, rad or m.
    :param workspace: where the tool point may be.
    :param forbidden: boxes that no guarded point of the arm may enter, by name.
    :param tool_speed: of the tool point, m/s.
    :param tool_turn_rate: of the tool, rad/s.
    :param step_translation: largest of one command, metres.
    :param step_rotation: largest of one command, radians.
    :param gripper_rate: change of the opening per second.
    :param observation_age: oldest observation whose command is executed, seconds.
    :param watchdog_periods: control periods without a fresh command after which the arm counts as stopped.
    :param tracking_error: of any joint, measured against commanded, that ends the motion; rad or m.
    :param tracking_time: seconds for which it must last.
    :param joint_state_timeout: seconds without a usable joint state that end the motion.
    :raises InputError: naming the limit that cannot be.
    """

    joints: Mapping[str, JointLimits]
    workspace: Box
    joint_margin: float = 0.05
    forbidden: Mapping[str, Box] = field(default_factory=dict)
    tool_speed: float = 0.35
    tool_turn_rate: float = 2.0
    step_translation: float = 0.05
    step_rotation: float = 0.35
    gripper_rate: float = 4.0
    observation_age: float = 1.5
    watchdog_periods: int = 3
    tracking_error: float = 0.25
    tracking_time: float = 0.3
    joint_state_timeout: float = 0.25

    def __post_init__(self) -> None:
        for name in (
            "tool_speed",
            "tool_turn_rate",
            "step_translation",
            "step_rotation",
            "gripper_rate",
            "observation_age",
            "watchdog_periods",
            "tracking_error",
            "tracking_time",
            "joint_state_timeout",
        ):
            if not 0.0 < getattr(self, name) < 1e6:
                raise InputError(f"{name}: expected more than 0, got {getattr(self, name)}")
        if not 0.0 <= self.joint_margin < 1.0:
            raise InputError(f"joint_margin: expected 0 to 1, got {self.joint_margin}")
        if not self.joints:
            raise InputError("joints: expected at least one")
        for name, joint in self.joints.items():
            if joint.upper - joint.lower <= 2.0 * self.joint_margin:
                raise InputError(f"joints.{name}: expected more than twice joint_margin between lower and upper")

    def check_stop(self, control_period_s: float) -> None:
        """:raises InputError: when a joint cannot stop within one control period from every state it may be in."""
        for name, joint in self.joints.items():
            if joint.longest_stop_s > control_period_s:
                raise InputError(
                    f"joints.{name}: expected limits that allow a stop within one control period "
                    f"({control_period_s:g} s), these take {joint.longest_stop_s:.3f} s; lower velocity, or raise "
                    "acceleration or jerk"
                )

    def check_joints(self, names: Sequence[str]) -> None:
        """:raises InputError: when the limits are not of exactly these coordinates."""
        if set(names) != set(self.joints):
            raise InputError(f"joints: expected limits of {', '.join(names)}, got those of {', '.join(self.joints)}")
