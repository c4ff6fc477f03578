"""The states of a motion."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class State:
    """A state of all n coordinates: radians or metres, their rates a second, and the rates of these."""

    position: np.ndarray
    velocity: np.ndarray
    acceleration: np.ndarray

    @classmethod
    def at_rest(cls, position: np.ndarray) -> "State":
        return cls(np.array(position, dtype=np.float64), np.zeros(len(position)), np.zeros(len(position)))

    @property
    def resting(self) -> bool:
        return not (self.velocity.any() or self.acceleration.any())
