"""Reads the arm's own joints from a message of joint states."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stvla_ros.errors import InputError


class ForeignJoints(InputError):
    """The message has other joints than the arm's: other publishers may use the same topic."""


@dataclass(frozen=True, eq=False)
class JointMeasurement:
    """:param position: (n,) rad or m; NaN stays NaN.
    :param effort: (n,) efforts in the robot's unit; NaN if not measured.
    """

    position: np.ndarray
    effort: np.ndarray


def read_joints(
    names: Sequence[str],
    positions: Sequence[float],
    efforts: Sequence[float],
    wanted: Sequence[str],
    also: Sequence[str] = (),
) -> JointMeasurement:
    """
    :param names, positions, efforts: names, positions and efforts in the message.
    :param wanted: names of the arm's joints: a message has all of them, or none.
    :param also: names of other joints that are needed with them (a finger); a message with only one of these is not
        about the arm.
    :returns: measurements of ``wanted``, and then of ``also``.
    :raises ForeignJoints: when none of the arm's joints is in it.
    :raises InputError: when some are missing, one is there twice, or there are not as many numbers as names.
    """
    if not set(wanted).intersection(names):
        raise ForeignJoints(f"expected the positions of {', '.join(wanted)}, got those of {_listed(names)}")
    for name in (*wanted, *also):
        count = list(names).count(name)
        if count != 1:
            raise InputError(
                f"expected the position of {name} once, got it {'not at all' if not count else f'{count} times'} among "
                f"those of {_listed(names)}"
            )
    if len(positions) != len(names):
        raise InputError(f"expected {len(names)} positions, one for each name, got {len(positions)}")
    if len(efforts) not in (0, len(names)):
        raise InputError(f"expected {len(names)} efforts, one for each name, or none, got {len(efforts)}")
    places = [list(names).index(name) for name in (*wanted, *also)]
    given = np.asarray(efforts, dtype=np.float64) if len(efforts) else np.full(len(names), np.nan)
    return JointMeasurement(np.asarray(positions, dtype=np.float64)[places], given[places])


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:12]) + (" …" if len(names) > 12 else "") if names else "none"
