"""What the safety gate is asked and answers: commands on their way through its three phases, verdicts, setpoints."""

from dataclasses import dataclass, field, replace

import numpy as np

from stvla_ros.control.displacement import Displacement
from stvla_ros.control.safety.motion import Motion
from stvla_ros.control.safety.track import Departure
from stvla_ros.errors import InputError


class TooLate(InputError):
    """The arm is past the state in which the motion begins: it is to be planned anew, with a greater lead."""


@dataclass(frozen=True)
class Verdict:
    """What became of a command.

    :param executed: whether the arm follows it, changed or not.
    :param clipped: which limits changed it.
    :param refused: why not; empty when it is executed.
    :param moved: by how much it moved the target pose.
    """

    executed: bool
    clipped: tuple[str, ...] = ()
    refused: str = ""
    moved: Displacement = field(default_factory=Displacement.none, compare=False)


@dataclass(frozen=True)
class Observed:
    """The observation that a command answers.

    :param stamp_ns: by the clock of whoever made it; it tells observations apart.
    :param taken_ns: when that was, in the clock of the gate's ``now_ns``.
    """

    stamp_ns: int
    taken_ns: int


@dataclass(frozen=True, eq=False)
class Request:
    """A command that was found good so far, with all that planning needs.

    :param target: (4, 4) wanted pose of the tool, in the base frame.
    :param seed: (n,) position near which the joints are sought.
    :param gripper: wanted opening, 0 closed to 1 open.
    """

    observed: Observed
    departure: Departure
    target: np.ndarray
    seed: np.ndarray
    gripper: float
    clipped: tuple[str, ...]

    def lifted(self, by: float) -> "Request":
        """With a target that is this much higher, metres: off the table."""
        target = self.target.copy()
        target[2, 3] += by
        return replace(self, target=target, clipped=(*self.clipped, "table"))


@dataclass(frozen=True, eq=False)
class Planned:
    """A request with its motion.

    :param goal: (n,) position at its end.
    """

    request: Request
    goal: np.ndarray
    motion: Motion


@dataclass(frozen=True, eq=False)
class Setpoint:
    """What the robot is to do until the next tick.

    :param position, velocity: (n,) radians or metres, and their rates a second.
    :param gripper: opening, 0 closed to 1 open; None until a command was executed: the gripper stays as it is, and what
        it holds is not dropped because a driver came up.
    :param tool_pose: (4, 4) of the tool point at this position, in the base frame.
    """

    position: np.ndarray
    velocity: np.ndarray
    gripper: float | None
    tool_pose: np.ndarray
