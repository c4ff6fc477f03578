"""Makes one action per control step from chunks, as the published evaluation in SimplerEnv does.

The published client asks for a chunk at each step, and averages the last chunks' actions for this step. It averages the
angles about fixed axes directly, before it makes a rotation of them; the weights are those of ``adaptive_ensemble``
(``control/chunk_execution.py``). Its gripper commands follow a rule of its own (InternVLA-M1, examples of SimplerEnv).
"""

from collections import deque

import numpy as np

from stvla_ros.control.actions import EndEffectorAction
from stvla_ros.control.chunk_execution import adaptive_weights
from stvla_ros.errors import InputError
from stvla_ros.policy.action_statistics import to_end_effector_action
from stvla_ros.policy.st4vla.normaliser import GRIPPER

CHUNKS = {"widowx": 7, "google_robot": 2}
"""Number of the last chunks that are averaged, by robot."""
_CHANGED = 0.5
_HELD_STEPS = 10


class AdaptiveEnsemble:
    """:param chunks: number of the last chunks that are averaged; each chunk begins one step after the one before."""

    def __init__(self, chunks: int) -> None:
        self._kept: deque[np.ndarray] = deque(maxlen=chunks)

    def reset(self) -> None:
        self._kept.clear()

    def add(self, actions: np.ndarray) -> np.ndarray:
        """
        :param actions: (T, 7) actions of the newest chunk, in metres, radians and opening.
        :returns: (7,) average for the step of its first action.
        """
        self._kept.append(actions)
        ages = range(len(self._kept) - 1, -1, -1)
        said = np.array([chunk[age] for age, chunk in zip(ages, self._kept, strict=True) if age < len(chunk)])
        return adaptive_weights(said) @ said


class GoogleGripper:
    """The published client's gripper command for the Google robot: how far to close in each step. It is the change of
    the wanted opening since the last change of more than a half. Such a change is sent again, unchanged, in each of 10
    steps; it may be as small as .52, because chunks are averaged.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self._known: float | None = None
        self._held, self._left = 0.0, 0

    def step(self, opening: float) -> float:
        """
        :param opening: wanted opening, 0 closed to 1 open.
        :returns: share of the gripper's way to close by, -1 to 1.
        """
        if self._known is None:
            self._known = opening
        closing = self._known - opening
        if abs(closing) > _CHANGED and not self._left:
            self._held, self._left, self._known = closing, _HELD_STEPS, opening
        if self._left:
            self._left -= 1
            closing = self._held
        return closing


class PublishedClient:
    """
    :param robot: name of the robot, one of ``CHUNKS``.
    :raises InputError: for another name.
    """

    def __init__(self, robot: str) -> None:
        if robot not in CHUNKS:
            raise InputError(f"client: expected one of {', '.join(CHUNKS)}, or none, got {robot!r}")
        self._google = GoogleGripper() if robot == "google_robot" else None
        self._ensemble = AdaptiveEnsemble(CHUNKS[robot])
        self.reset()

    def reset(self) -> None:
        """A new episode or instruction starts, with an open gripper."""
        self._ensemble.reset()
        self._opening = 1.0
        if self._google is not None:
            self._google.reset()

    def step(self, actions: np.ndarray) -> EndEffectorAction:
        """
        :param actions: (T, 7) actions of a chunk, in metres, radians and opening.
        :returns: the action of this control step. The Google robot's relative gripper commands are added up to an
            opening.
        """
        mean = self._ensemble.add(actions)
        if self._google is None:
            self._opening = 1.0 if mean[GRIPPER] > _CHANGED else 0.0
        else:
            self._opening = float(np.clip(self._opening - self._google.step(float(mean[GRIPPER])), 0.0, 1.0))
        return to_end_effector_action(np.array([*mean[:GRIPPER], self._opening]))
