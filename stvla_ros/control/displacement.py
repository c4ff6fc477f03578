"""Displacements of a tool's target pose: the sum of actions, and the part of it that remains. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from stvla_ros.control.actions import EndEffectorAction
from stvla_ros.control.caps import Caps


@dataclass(frozen=True)
class Displacement:
    """The motion from one target pose to another, in the robot's base frame.

    An action turns the tool about its tool point, so the two parts do not mix (see :class:`EndEffectorAction`):
    translations add up, and rotations multiply, the later one on the left.

    :param translation: (3,) metres.
    :param rotation: rotation between the two targets; the later target's rotation is ``rotation * earlier``.
    """

    translation: np.ndarray
    rotation: Rotation

    @classmethod
    def none(cls) -> "Displacement":
        return cls(np.zeros(3), Rotation.identity())

    @classmethod
    def of(cls, action: EndEffectorAction) -> "Displacement":
        return cls(action.translation, Rotation.from_rotvec(action.rotation))

    @classmethod
    def between(cls, earlier: np.ndarray, later: np.ndarray) -> "Displacement":
        """:param earlier, later: (4, 4) poses of the target in the base frame."""
        return cls(later[:3, 3] - earlier[:3, 3], Rotation.from_matrix(later[:3, :3] @ earlier[:3, :3].T))

    def then(self, later: "Displacement") -> "Displacement":
        """This displacement followed by the later one."""
        return Displacement(self.translation + later.translation, later.rotation * self.rotation)

    def left_after(self, done: "Displacement") -> "Displacement":
        """The motion that remains to the end of this displacement when ``done`` was executed from the same
        beginning.
        """
        return Displacement(self.translation - done.translation, self.rotation * done.rotation.inv())

    def within(self, caps: Caps) -> "Displacement":
        """The beginning of this displacement, no longer than the caps allow."""
        turn = _shortened(self.rotation.as_rotvec(), caps.rotation)
        return Displacement(_shortened(self.translation, caps.translation), Rotation.from_rotvec(turn))

    def action(self, gripper: float) -> EndEffectorAction:
        """The displacement as one action."""
        return EndEffectorAction(self.translation, self.rotation.as_rotvec(), gripper)


def composed(actions: Iterable[EndEffectorAction]) -> Displacement:
    """The sum of actions, the first one first."""
    whole = Displacement.none()
    for action in actions:
        whole = whole.then(Displacement.of(action))
    return whole


def mean(displacements: Sequence[Displacement]) -> Displacement:
    """The mean of at least one displacement: translations by component, rotations by the sum of squared chords."""
    if len(displacements) == 1:
        return displacements[0]
    translations = [each.translation for each in displacements]
    rotations = Rotation.concatenate([each.rotation for each in displacements])
    return Displacement(np.mean(translations, axis=0), rotations.mean())


def _shortened(way: np.ndarray, most: float) -> np.ndarray:
    length = float(np.linalg.norm(way))
    return way if length <= most else way * (most / length)
