"""Joint states that come in parts, from one topic or several: they are combined, with an age for each joint."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from stvla_ros.errors import InputError


@dataclass(frozen=True)
class JointSaid:
    """:param position: rad or m.
    :param effort: effort in the robot's unit; NaN if not measured.
    :param stamp_ns: time of the measurement, nanoseconds.
    """

    position: float
    effort: float
    stamp_ns: int


@dataclass(frozen=True, eq=False)
class WholeArm:
    """:param position: (n,) rad or m.
    :param effort: (n,) efforts in the robot's unit; NaN if not measured.
    :param stamp_ns: time of the oldest joint's measurement, nanoseconds.
    """

    position: np.ndarray
    effort: np.ndarray
    stamp_ns: int


class MergedJoints:
    """The whole arm is known each time all of its joints have come anew. Its speed then follows from equal steps of
    time. A joint that falls silent ends this, whatever the other joints still report.

    :param joints: names of the joints, in the order of every position.
    :param timeout_s: age of a joint's last message beyond which it is reported, seconds.
    """

    def __init__(self, joints: Sequence[str], timeout_s: float) -> None:
        self._joints, self._timeout_s = tuple(joints), timeout_s
        self._said: dict[str, JointSaid] = {}
        self._anew: set[str] = set()
        self._first_ns: int | None = None

    def take(self, said: Mapping[str, JointSaid]) -> WholeArm | None:
        """
        :param said: measurements of the arm's joints in one message, by name.
        :returns: the whole arm, when this message completed it; else None.
        :raises InputError: when newer positions of these joints came before; nothing is changed then.
        """
        for name, each in said.items():
            late_s = (self._said[name].stamp_ns - each.stamp_ns) * 1e-9 if name in self._said else 0.0
            # If it is farther back, it was not overtaken: the clock was set back.
            if 0.0 < late_s <= self._timeout_s:
                raise InputError(f"the position of {name} was overtaken by one that is {late_s:.3g} s newer")
        if self._first_ns is None and said:
            self._first_ns = min(each.stamp_ns for each in said.values())
        self._said |= said
        self._anew |= said.keys()
        if not self._anew.issuperset(self._joints):
            return None
        self._anew.clear()
        arm = [self._said[name] for name in self._joints]
        return WholeArm(
            np.array([each.position for each in arm]),
            np.array([each.effort for each in arm]),
            min(each.stamp_ns for each in arm),
        )

    def silent(self, now_ns: int) -> str:
        """The joints whose position has been missing for too long, each with its age; empty when there are none.

        :param now_ns: present time in the stamps' clock.
        """
        found = []
        for name in self._joints:
            said = self._said.get(name)
            since_ns = said.stamp_ns if said else self._first_ns
            if since_ns is not None and (age_s := (now_ns - since_ns) * 1e-9) > self._timeout_s:
                found.append(f"{name} ({f'{age_s:.2g} s' if said else 'never'})")
        return ", ".join(found)
