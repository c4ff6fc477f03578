"""Noise that takes the executed actions off the expert's path, so that demonstrations show how to return to it.

The label of a frame stays the expert's clean answer to it; only what is executed is disturbed. A policy trained on
clean paths alone never sees the states that its own small errors lead to (the reason for DART, arXiv 1703.09327).
"""

from dataclasses import dataclass

import numpy as np

from stvla_ros.control.actions import EndEffectorAction
from stvla_ros.errors import InputError

# The share of a step's noise that remains in the next step's: errors of a policy last, and white noise averages out.
_CORRELATION = 0.6
# Radians of rotation noise per metre of translation noise: a gripper that is 1 cm off is typically 3 degrees askew.
_ROTATION_PER_METRE = 5.0
_PUSH_STEPS = (2, 6)
_SLIP_STEPS = (1, 3)


@dataclass(frozen=True)
class NoiseParameters:
    """
    :param translation: standard deviation of the noise on every executed translation, metres a step and axis. Each
        episode scales it by a random factor from 0 to 1, so that there are clean paths among the demonstrations.
    :param push_probability: probability, at each step, that the arm is pushed in one direction for some steps.
    :param push: speed of a push, metres a step.
    :param slip_probability: probability, at each step, that the gripper briefly does the opposite: an object is
        dropped, or the fingers close on nothing.
    :raises InputError: for a negative number or a probability above 1.
    """

    translation: float = 0.008
    push_probability: float = 0.03
    push: float = 0.02
    slip_probability: float = 0.006

    def __post_init__(self) -> None:
        for name, high in (("translation", 0.1), ("push_probability", 1.0), ("push", 0.1), ("slip_probability", 1.0)):
            value = getattr(self, name)
            if not 0.0 <= value <= high:
                raise InputError(f"noise {name}: expected 0 to {high:g}, got {value}")


class ActionNoise:
    """Disturbs the actions of one episode.

    :param random: random generator of the episode.
    """

    def __init__(self, parameters: NoiseParameters, random: np.random.Generator) -> None:
        self._parameters, self._random = parameters, random
        self._deviation = parameters.translation * random.uniform(0.0, 1.0)
        self._drift = np.zeros(6)
        self._push, self._push_left, self._slip_left = np.zeros(3), 0, 0

    def __call__(self, action: EndEffectorAction) -> EndEffectorAction:
        """The action that is executed in place of ``action``."""
        random, parameters = self._random, self._parameters
        fresh = random.normal(0.0, self._deviation, 6) * np.repeat([1.0, _ROTATION_PER_METRE], 3)
        self._drift = _CORRELATION * self._drift + np.sqrt(1.0 - _CORRELATION**2) * fresh
        if self._push_left == 0 and random.random() < parameters.push_probability:
            direction = random.normal(size=3)
            self._push = parameters.push * direction / np.linalg.norm(direction)
            self._push_left = int(random.integers(*_PUSH_STEPS, endpoint=True))
        if self._slip_left == 0 and random.random() < parameters.slip_probability:
            self._slip_left = int(random.integers(*_SLIP_STEPS, endpoint=True))
        translation = action.translation + self._drift[:3] + (self._push if self._push_left else 0.0)
        gripper = 1.0 - action.gripper if self._slip_left else action.gripper
        self._push_left, self._slip_left = max(self._push_left - 1, 0), max(self._slip_left - 1, 0)
        return EndEffectorAction(translation, action.rotation + self._drift[3:], gripper)
