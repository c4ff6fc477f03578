"""Requests and answers of the safety gate: commands in their three phases, verdicts, setpoints."""

from dataclasses import dataclass, field, replace

import numpy as np

from stvla_ros.control.displacement import Displacement
from stvla_ros.control.safety.motion import Motion
from stvla_ros.control.safety.track import Departure
from stvla_ros.errors import InputError


class TooLate(InputError):
    """The arm has passed the state in which the motion begins: it must be planned again, with a greater lead."""


@dataclass(frozen=True)
class Verdict:
    """The gate's verdict on a command.

    :param executed: whether the arm follows it, changed or unchanged.
    :param clipped: names of the limits that changed it.
    :param refused: reason of the refusal; empty when it is executed.
    :param moved: motion of the target pose by this command.
    """

    executed: bool
    clipped: tuple[str, ...] = ()
    refused: str = ""
    moved: Displacement = field(default_factory=Displacement.none, compare=False)


@dataclass(frozen=True)
class Observed:
    """The observation that a command answers.

    :param stamp_ns: stamp by the clock of the observation's maker; it tells observations apart.
    :param taken_ns: time of the observation, in the clock of the gate's ``now_ns``.
    """

    stamp_ns: int
    taken_ns: int


@dataclass(frozen=True, eq=False)
class Request:
    """A command that has passed the first phase, with everything that planning needs.

    :param target: (4, 4) wanted pose of the tool, in the base frame.
    :param seed: (n,) position near which the joints are searched for.
    :param gripper: wanted opening, 0 closed to 1 open.
    """

    observed: Observed
    departure: Departure
    target: np.ndarray
    seed: np.ndarray
    gripper: float
    clipped: tuple[str, ...]

    def lifted(self, by: float) -> "Request":
        """The same request with a target that is this much higher, metres, to stay above the table."""
        target = self.target.copy()
        target[2, 3] += by
        return replace(self, target=target, clipped=(*self.clipped, "table"))


@dataclass(frozen=True, eq=False)
class Planned:
    """A request with its motion.

    :param goal: (n,) position at the end of the motion.
    """

    request: Request
    goal: np.ndarray
    motion: Motion


@dataclass(frozen=True, eq=False)
class Setpoint:
    """The robot's commands until the next tick.

    :param position, velocity: positions (n,) in radians or metres, and their rates a second.
    :param gripper: gripper opening, 0 closed to 1 open; None until a command was executed: the gripper then stays as it
        is, so that starting a driver does not drop what it holds.
    :param tool_pose: (4, 4) pose of the tool point at this position, in the base frame.
    """

    position: np.ndarray
    velocity: np.ndarray
    gripper: float | None
    tool_pose: np.ndarray
