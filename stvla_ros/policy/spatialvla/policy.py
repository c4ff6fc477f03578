"""The ST-VLA policy: a SpatialVLA checkpoint that is given the traced depth."""

from typing import TYPE_CHECKING

import numpy as np
from scipy.spatial.transform import Rotation

from stvla_ros.control.actions import EndEffectorAction
from stvla_ros.errors import InputError
from stvla_ros.policy import load_policy
from stvla_ros.policy.action_statistics import select_statistics
from stvla_ros.policy.base import Answer, Policy, PolicyInput
from stvla_ros.shared_files import default_checkpoint

if TYPE_CHECKING:
    from stvla_ros.policy.spatialvla.predictor import SpatialVlaPredictor


class StvlaPolicy(Policy):
    """
    :param checkpoint: a folder in the published layout (or of an adapter), or an id on the Hugging Face hub; empty for
        the small one that comes with the package.
    :param device: see ``load_policy``.
    :param dtype: see ``load_policy``.
    :param unnorm_key: data set whose statistics turn normalised actions into metres; empty: the checkpoint's only one,
        or else ``fallback_unnorm_key``.
    :param fallback_unnorm_key: the robot's data set in the published checkpoints.
    :param resize: how pictures come to 224x224: ``bicubic`` or ``area``.
    :param temperature: 0 for the best actions, else they are sampled.
    :param seed: of the sampling.
    :param threads: cores that torch may use on a CPU; 0 for half of them, see ``devices.set_threads``.
    """

    name = "stvla"

    def __init__(
        self,
        checkpoint: str = "",
        device: str = "auto",
        dtype: str = "auto",
        unnorm_key: str = "",
        fallback_unnorm_key: str = "",
        resize: str = "bicubic",
        temperature: float = 0.0,
        seed: int = 0,
        threads: int = 0,
    ) -> None:
        self._checkpoint = checkpoint or str(default_checkpoint())
        self._device, self._dtype = device, dtype
        self._keys = (unnorm_key, fallback_unnorm_key)
        self._options = {"resize": resize, "temperature": temperature, "seed": seed}
        self._threads = threads
        self.draws_at_random = bool(temperature)
        self._predictor: "SpatialVlaPredictor | None" = None
        self._unnorm_key = ""

    def load(self) -> None:
        """:raises InputError: for whatever of the parameters cannot be used."""
        # Not at the top: a launcher that only checks the parameters need not wait for torch.
        from stvla_ros.devices import set_threads

        set_threads(self._threads)
        predictor = load_policy(self._checkpoint, self._device, self._dtype, **self._options)
        self._unnorm_key, _ = select_statistics(predictor.statistics, *self._keys)
        predictor.warm_up()
        self._predictor = predictor

    def predict(self, observation: PolicyInput) -> Answer:
        if self._predictor is None:
            raise InputError("policy stvla: expected load() before predict()")
        seen = observation.picture
        prediction = self._predictor.predict(
            seen.rgb, observation.instruction, seen.depth, seen.intrinsics, self._unnorm_key
        )
        return Answer(tuple(to_end_effector_action(action) for action in prediction.actions))


def to_end_effector_action(action: np.ndarray) -> EndEffectorAction:
    """
    :param action: (7,) x y z metres, roll pitch yaw radians about the fixed axes x, y, z in this order (the OXE
        convention), gripper 0..1.
    """
    rotation = Rotation.from_euler("xyz", action[3:6]).as_rotvec()
    return EndEffectorAction(action[:3], rotation, float(action[6]))
