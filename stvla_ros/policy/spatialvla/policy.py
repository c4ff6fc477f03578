"""SpatialVLA as a policy; with the traced depth it is ST-VLA."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stvla_ros.errors import InputError
from stvla_ros.policy.action_statistics import to_end_effector_action
from stvla_ros.policy.base import MAIN_CAMERA, Answer, InputNeeds, PolicyInput
from stvla_ros.policy.network_policy import NetworkPolicy
from stvla_ros.policy.sampling import check_resize, check_seed, check_temperature
from stvla_ros.shared_files import default_checkpoint

if TYPE_CHECKING:
    from stvla_ros.policy.spatialvla.predictor import SpatialVlaPredictor


class SpatialVlaPolicy(NetworkPolicy["SpatialVlaPredictor"]):
    """
    :param checkpoint: folder of a checkpoint in the published layout or of an adapter, or an id on the Hugging Face
        hub; empty for the shipped small one.
    :param device: device, see ``stvla_ros.policy.load_policy``.
    :param dtype: type of the weights, see ``stvla_ros.policy.load_policy``.
    :param unnorm_key: data set whose statistics turn normalised actions into metres; empty: the checkpoint's only one,
        the one added to the published ones, or else ``fallback_unnorm_key``.
    :param fallback_unnorm_key: the robot's data set in the published checkpoints.
    :param resize: method of resizing pictures to 224x224: ``bicubic`` or ``area``.
    :param temperature: temperature of the sampling; 0 for the best actions.
    :param seed: seed of the sampling.
    :param threads: cores that torch may use on a CPU; 0 for half of them, see ``devices.set_threads``.
    :param compiled_parts: ``auto``, True or False, see ``Accelerations``.
    :raises InputError: for a value of ``compiled_parts``, ``resize``, ``temperature`` or ``seed`` that cannot be used.
    """

    name = "spatialvla"

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
        compiled_parts: bool | str = "auto",
    ) -> None:
        if not isinstance(compiled_parts, bool) and compiled_parts != "auto":
            raise InputError(f"compiled_parts: expected auto, true or false, got {compiled_parts!r}")
        check_resize(resize)
        check_temperature(temperature)
        check_seed(seed)
        options = {"resize": resize, "temperature": temperature, "seed": seed}
        super().__init__(checkpoint or str(default_checkpoint()), unnorm_key, fallback_unnorm_key, threads, options)
        self._device, self._dtype = device, dtype
        self._compiled_parts = compiled_parts if isinstance(compiled_parts, bool) else None
        self.draws_at_random = bool(temperature)

    def _load(self, folder: Path, options: Mapping[str, Any]) -> "SpatialVlaPredictor":
        from stvla_ros.policy.spatialvla.decoding.decoder import Accelerations
        from stvla_ros.policy.spatialvla.loading import load_predictor

        accelerations = Accelerations(compiled_parts=self._compiled_parts)
        # Lean: what a policy is shown has a depth, the graph's and the evaluation's perception give one.
        predictor = load_predictor(folder, self._device, self._dtype, lean=True, accelerations=accelerations, **options)
        self.needs = InputNeeds(history_s=predictor.earlier_s)
        return predictor

    def predict(self, observation: PolicyInput) -> Answer:
        predictor, seen = self._predictor, observation.picture
        # At the start of an episode it is the episode's first picture, as in training.
        past = observation.before(self.needs.history_s) or next(iter(observation.history), None)
        prediction = predictor.predict(
            seen.rgb,
            observation.instruction,
            seen.depth,
            seen.intrinsics,
            self._unnorm_key,
            traces=seen.traces,
            earlier=past.pictures[MAIN_CAMERA] if past else None,
        )
        return Answer(tuple(to_end_effector_action(action) for action in prediction.actions))
