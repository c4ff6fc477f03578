"""The action of one control step: the output of every policy, and the input of every robot and simulator."""

from dataclasses import dataclass

import numpy as np

from stvla_ros.errors import InputError


@dataclass(frozen=True)
class EndEffectorAction:
    """One control step relative to the end effector's current *target* pose (the OXE / SimplerEnv convention).

    :param translation: (3,) float64, metres, in the robot's base frame.
    :param rotation: (3,) float64, rotation vector (axis * angle, radians) in the base frame, about the gripper's tool
        point. The new target rotation is ``R(rotation) @ R_target``; a pure rotation leaves the tool point in place.
    :param gripper: wanted absolute opening, 0 closed to 1 open.
    :raises InputError: for a wrong shape, a NaN or infinity, or a gripper value outside 0..1.
    """

    translation: np.ndarray
    rotation: np.ndarray
    gripper: float

    def __post_init__(self) -> None:
        for name in ("translation", "rotation"):
            value = np.asarray(getattr(self, name), dtype=np.float64)
            if value.shape != (3,) or not np.isfinite(value).all():
                raise InputError(f"action {name}: expected 3 finite numbers, got {value.tolist()}")
            object.__setattr__(self, name, value)
        if not 0.0 <= self.gripper <= 1.0:  # also false for NaN
            raise InputError(f"action gripper: expected 0 (closed) to 1 (open), got {self.gripper}")

    @classmethod
    def hold(cls, gripper: float) -> "EndEffectorAction":
        """The action that keeps the target pose."""
        return cls(np.zeros(3), np.zeros(3), gripper)
