"""From chunks to one action a control step, as the published evaluation in SimplerEnv does it.

The published client asks for a chunk at each step, and takes the mean of what the last ones say about it, of the angles
about fixed axes as they are, before it makes a rotation of them; weights are those of ``adaptive_ensemble``
(``control/chunk_execution.py``). What it tells the gripper is its own (InternVLA-M1, examples of SimplerEnv).
"""

from collections import deque

import numpy as np

from stvla_ros.control.actions import EndEffectorAction
from stvla_ros.control.chunk_execution import adaptive_weights
from stvla_ros.errors import InputError
from stvla_ros.policy.action_statistics import to_end_effector_action
from stvla_ros.policy.st4vla.normaliser import GRIPPER

CHUNKS = {"widowx": 7, "google_robot": 2}
"""How many of the last chunks have a say, by robot."""
_CHANGED = 0.5
_HELD_STEPS = 10


class AdaptiveEnsemble:
    """:param chunks: how many of the last chunks have a say; each is of the step after the one before."""

    def __init__(self, chunks: int) -> None:
        self._kept: deque[np.ndarray] = deque(maxlen=chunks)

    def reset(self) -> None:
        self._kept.clear()

    def add(self, actions: np.ndarray) -> np.ndarray:
        """
        :param actions: (T, 7) of the newest chunk, in metres, radians and opening.
        :returns: (7,) for the step of its first action.
        """
        self._kept.append(actions)
        ages = range(len(self._kept) - 1, -1, -1)
        said = np.array([chunk[age] for age, chunk in zip(ages, self._kept, strict=True) if age < len(chunk)])
        return adaptive_weights(said) @ said


class GoogleGripper:
    """How far the published client closes the Google robot's gripper in each step: by the change of the opening that is
    asked for, since the last change of more than a half. Such a change is told again in each of 10 steps, as it is: a
    mean of chunks may be .52.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self._known: float | None = None
        self._held, self._left = 0.0, 0

    def step(self, opening: float) -> float:
        """
        :param opening: asked for, 0 closed to 1 open.
        :returns: by how much of its way to close, -1 to 1.
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
    :param robot: one of ``CHUNKS``.
    :raises InputError: for another.
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
        :param actions: (T, 7) of a chunk, in metres, radians and opening.
        :returns: what is done in this control step. The Google robot's relative commands are added up to an opening.
        """
        mean = self._ensemble.add(actions)
        if self._google is None:
            self._opening = 1.0 if mean[GRIPPER] > _CHANGED else 0.0
        else:
            self._opening = float(np.clip(self._opening - self._google.step(float(mean[GRIPPER])), 0.0, 1.0))
        return to_end_effector_action(np.array([*mean[:GRIPPER], self._opening]))
