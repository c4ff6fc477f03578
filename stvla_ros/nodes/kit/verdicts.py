"""What a verdict says of the motion of its command."""

import numpy as np
from geometry_msgs.msg import Vector3
from scipy.spatial.transform import Rotation

from stvla_ros.control.displacement import Displacement
from stvla_ros.errors import InputError
from stvla_ros.msg import CommandVerdict
from stvla_ros.nodes.kit.messages import ns_to_time, stamp_to_ns

# Metres and radians: more than any command of one control step moves a target.
_FARTHEST = 10.0


def tell_moved(verdict: CommandVerdict, moved: Displacement, at: int) -> None:
    """Write into a verdict by how much its command moved the target pose.

    :param at: time of the motion, nanoseconds.
    """
    turn = moved.rotation.as_rotvec()
    verdict.translation = Vector3(x=moved.translation[0], y=moved.translation[1], z=moved.translation[2])
    verdict.rotation = Vector3(x=turn[0], y=turn[1], z=turn[2])
    verdict.moved_at = ns_to_time(at)


def told_moved(verdict: CommandVerdict) -> tuple[Displacement, int] | None:
    """The content that :func:`tell_moved` wrote; None when, as far as is known, the command was executed as sent.

    :raises InputError: for NaN, and for a motion that no command of one control step can make.
    """
    if not verdict.executed:
        return Displacement.none(), stamp_to_ns(verdict.moved_at)
    if not (at := stamp_to_ns(verdict.moved_at)):
        return None
    t, r = verdict.translation, verdict.rotation
    numbers = np.array([t.x, t.y, t.z, r.x, r.y, r.z])
    if not (np.abs(numbers) <= _FARTHEST).all():  # also for NaN
        raise InputError(
            f"topic command_verdict: expected translation and rotation up to {_FARTHEST:g} m and rad, "
            f"got {numbers.tolist()}"
        )
    return Displacement(numbers[:3], Rotation.from_rotvec(numbers[3:])), at
