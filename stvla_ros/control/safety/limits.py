"""The limits that the safety gate enforces for a robot. docs/explanation/safety.md gives the reason for each.

Each limit has a ceiling that no robot's file may exceed: a mistake (degrees for radians, millimetres for metres) must
not pass as a limit.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, get_args

import numpy as np

from stvla_ros.control.safety.ceilings import ceiling, check_ceilings
from stvla_ros.errors import InputError

Mode = Literal["reduced", "full"]
MODES: tuple[Mode, ...] = get_args(Mode)
# Greatest speed of any point in the mode `reduced`, m/s.
REDUCED_SPEED = 0.25

# Tolerance between limits in the URDF and in the file, radians or metres: degrees converted to radians with four digits
# differ by less.
_ROUNDING = 1e-3
# Greatest distance from the base along each axis, metres. A forbidden box may have any size.
WORKSPACE_CEILING = 5.0


@dataclass(frozen=True)
class Box:
    """An axis-aligned box in the robot's base frame.

    :param low: least x, y, z, metres.
    :param high: greatest x, y, z, metres.
    :raises InputError: for numbers that make no box.
    """

    low: tuple[float, ...]
    high: tuple[float, ...]

    def __post_init__(self) -> None:
        numbers = len(self.low) == len(self.high) == 3 and np.isfinite([*self.low, *self.high]).all()
        if not numbers or not all(a < b for a, b in zip(self.low, self.high)):
            raise InputError(f"expected low < high, three finite numbers (m) each, got {self.low} and {self.high}")

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
        """:param by: enlargement on every side, metres."""
        return Box(tuple(value - by for value in self.low), tuple(value + by for value in self.high))


@dataclass(frozen=True)
class JointLimits:
    """Limits of one coordinate; radians or metres, and seconds.

    :param lower: hard limit of the position.
    :param upper: hard limit of the position.
    :param effort: effort that free motion never needs, in the unit of the robot's joint states; None: it is not
        watched.
    :raises InputError: for limits that leave no motion.
    """

    lower: float = ceiling(low=-12.6, high=12.6, why="two turns either way, or an axis of 12 m")
    upper: float = ceiling(low=-12.6, high=12.6, why="two turns either way, or an axis of 12 m")
    velocity: float = ceiling(high=10.0, why="the fastest joints of arms of this size turn at about 6 rad/s")
    acceleration: float = ceiling(high=100.0, why="makers of such arms allow up to about 20 rad/s^2")
    jerk: float = ceiling(high=20_000.0, why="makers of such arms allow up to about 10,000 rad/s^3")
    effort: float | None = ceiling(None, high=10_000.0, why="10 A, or 10 kN m: nothing would stop the arm")

    def __post_init__(self) -> None:
        check_ceilings(self)
        if not self.lower < self.upper:
            raise InputError(f"expected lower < upper, got {self.lower} and {self.upper}")

    @property
    def longest_stop_s(self) -> float:
        """Time to rest from full speed and full acceleration in the direction of motion, seconds. The acceleration
        first falls to zero (meanwhile the speed still rises, at most to the limit), and a jerk-limited brake follows.
        """
        if self.velocity >= self.acceleration**2 / self.jerk:
            brake = self.velocity / self.acceleration + self.acceleration / self.jerk
        else:
            brake = 2.0 * float(np.sqrt(self.velocity / self.jerk))
        return self.acceleration / self.jerk + brake


@dataclass(frozen=True)
class SafetyLimits:
    """
    :param joints: limits by name of the coordinate.
    :param joint_margin: distance from the position limits that is kept, rad or m.
    :param workspace: box in which the tool point may be.
    :param workspace_allowance: distance by which the arm's moving links may be outside the workspace, metres; the way
        to the base counts as inside.
    :param table_height: height that no moving link may be below, metres above the base's origin; None if there is no
        table.
    :param forbidden: boxes that no moving link may enter, by name.
    :param guard_radius: radius around the frames of links without collision geometry in the URDF, metres.
    :param speed: greatest speed of every point of the arm, m/s.
    :param tool_turn_rate: greatest rate of rotation of the tool, rad/s.
    :param step_translation: largest translation of one command, metres.
    :param step_rotation: largest rotation of one command, radians.
    :param commands_per_observation: largest number of commands that may answer one observation: the length of a
        policy's chunk.
    :param gripper_rate: largest change of the opening per second.
    :param observation_age: largest age of an observation whose command is executed, seconds.
    :param watchdog_periods: number of control periods without a fresh command after which the arm counts as stopped.
    :param tracking_error: difference of any joint between measured and commanded position that ends the motion; rad or
        m.
    :param tracking_time: time for which this difference must last, seconds.
    :param joint_state_timeout: time without a usable joint state that ends the motion, seconds.
    :param measured_speed: multiple of a joint's velocity limit up to which a measured motion is believed.
    :param measured_noise: largest error of a measurement, rad or m.
    :param measured_outside: distance by which the measured tool may be farther outside the workspace than any setpoint,
        metres.
    :param rest_speed: speed below which an arm counts as resting, rad or m a second.
    :param rest_time: time of rest before an arm is taken up, seconds.
    :raises InputError: naming the limit that is not allowed.
    """

    joints: Mapping[str, JointLimits]
    workspace: Box
    joint_margin: float = ceiling(0.05, low=0.0, high=0.5, why="more leaves most joints no way")
    forbidden: Mapping[str, Box] = field(default_factory=dict)
    workspace_allowance: float = ceiling(0.1, low=0.0, high=1.0, why="more is no workspace")
    table_height: float | None = ceiling(0.0, low=-2.0, high=2.0, why="no arm stands so far below a table")
    guard_radius: float = ceiling(0.05, high=0.3, why="no link of such an arm is thicker")
    speed: float = ceiling(
        0.35, high=2.0, why="the speed that ISO 13855 takes a person's hand to move at", former="tool_speed"
    )
    tool_turn_rate: float = ceiling(2.0, high=6.3, why="a turn a second")
    step_translation: float = ceiling(0.05, high=0.2, why="policies move by a few centimetres a step")
    step_rotation: float = ceiling(0.35, high=1.0, why="three steps must stay below half a turn, where angles wrap")
    commands_per_observation: int = ceiling(4, low=1, high=100, why="the longest chunks of policies")
    gripper_rate: float = ceiling(4.0, high=20.0, why="no gripper closes within 50 ms")
    observation_age: float = ceiling(1.5, high=5.0, why="whatever is older shows another scene")
    watchdog_periods: int = ceiling(3, low=1, high=100, why="later, nobody knows of what is told")
    tracking_error: float = ceiling(0.25, high=1.0, why="a radian off, an arm presses with all that it has")
    tracking_time: float = ceiling(0.3, high=2.0, why="an arm that is blocked so long has done its harm")
    joint_state_timeout: float = ceiling(0.25, high=1.0, why="an arm that is silent so long is lost")
    measured_speed: float = ceiling(2.0, low=1.0, high=5.0, why="no servo is so much faster than it is asked to be")
    measured_noise: float = ceiling(0.05, high=0.2, why="two arms so far apart must not pass as one")
    measured_outside: float = ceiling(0.03, high=0.1, why="no arm sags so far")
    rest_speed: float = ceiling(0.05, high=0.2, why="a faster arm does not rest")
    rest_time: float = ceiling(0.2, low=0.1, high=5.0, why="a person waits no longer")

    def __post_init__(self) -> None:
        check_ceilings(self)
        if max(map(abs, (*self.workspace.low, *self.workspace.high))) > WORKSPACE_CEILING:
            raise InputError(
                f"workspace: expected a box within {WORKSPACE_CEILING:g} m of the robot's base (no arm that a policy "
                f"drives reaches farther), got {self.workspace.low} to {self.workspace.high}"
            )
        if not self.joints:
            raise InputError("joints: expected at least one")
        for name, joint in self.joints.items():
            if joint.upper - joint.lower <= 2.0 * self.joint_margin:
                raise InputError(f"joints.{name}: expected more than twice joint_margin between lower and upper")

    def in_mode(self, mode: Mode) -> "SafetyLimits":
        """The limits in a mode: in ``full`` they are as here, in ``reduced`` no point is faster than 0.25 m/s."""
        return self if mode == "full" else replace(self, speed=min(self.speed, REDUCED_SPEED))

    def check_stop(self, control_period_s: float) -> None:
        """:raises InputError: when a joint cannot stop within one control period from every state it may be in."""
        for name, joint in self.joints.items():
            if joint.longest_stop_s > control_period_s:
                raise InputError(
                    f"joints.{name}: expected limits that allow a stop within one control period "
                    f"({control_period_s:g} s), these take {joint.longest_stop_s:.3f} s; lower velocity, or raise "
                    "acceleration or jerk"
                )

    def check_urdf(self, names: Sequence[str], lower: np.ndarray, upper: np.ndarray, velocity: np.ndarray) -> None:
        """
        :param names: names of the coordinates.
        :param lower, upper, velocity: limits in the URDF, (n,) each.
        :raises InputError: naming the limits that the robot's file sets wider than the URDF.
        """
        wider = []
        for name, low, high, fastest in zip(names, lower, upper, velocity):
            joint = self.joints[name]
            for key, wide, limit in (
                ("lower", low - joint.lower, low),
                ("upper", joint.upper - high, high),
                ("velocity", joint.velocity - fastest, fastest),
            ):
                if wide > _ROUNDING:
                    wider.append(f"joints.{name}.{key} {getattr(joint, key):g} (URDF {limit:g})")
        if wider:
            raise InputError(f"limits: expected none wider than the URDF's, got {', '.join(wider)}")

    def check_joints(self, names: Sequence[str]) -> None:
        """:raises InputError: when the limits are not of exactly these coordinates."""
        if set(names) != set(self.joints):
            raise InputError(f"joints: expected limits of {', '.join(names)}, got those of {', '.join(self.joints)}")
