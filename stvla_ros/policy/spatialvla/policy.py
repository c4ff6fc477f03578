"""SpatialVLA as a policy; with the traced depth it is ST-VLA."""

from typing import TYPE_CHECKING

from stvla_ros.errors import InputError
from stvla_ros.policy.action_statistics import say_statistics, select_statistics, to_end_effector_action
from stvla_ros.policy.base import MAIN_CAMERA, Answer, InputNeeds, Policy, PolicyInput
from stvla_ros.policy.sampling import check_resize, check_seed, check_temperature
from stvla_ros.shared_files import default_checkpoint

if TYPE_CHECKING:
    from stvla_ros.policy.spatialvla.predictor import SpatialVlaPredictor


class SpatialVlaPolicy(Policy):
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
        self._checkpoint = checkpoint or str(default_checkpoint())
        self._device, self._dtype = device, dtype
        self._keys = (unnorm_key, fallback_unnorm_key)
        self._options = {"resize": resize, "temperature": temperature, "seed": seed}
        self._threads = threads
        self._compiled_parts = compiled_parts if isinstance(compiled_parts, bool) else None
        self.draws_at_random = bool(temperature)
        self._predictor: SpatialVlaPredictor | None = None
        self._unnorm_key = ""

    def load(self) -> None:
        """:raises InputError: when one of the parameters cannot be used."""
        # Imported here: a launcher that only checks the parameters need not wait for torch.
        from stvla_ros.devices import free_memory, set_threads
        from stvla_ros.policy.checkpoints import find_checkpoint
        from stvla_ros.policy.spatialvla.decoding.decoder import Accelerations
        from stvla_ros.policy.spatialvla.loading import load_predictor

        set_threads(self._threads)
        self._predictor = None  # never two networks in memory
        free_memory()
        folder = find_checkpoint(self._checkpoint)
        # A policy's input always has a depth: the graph's and the evaluation's perception supply one.
        accelerations = Accelerations(compiled_parts=self._compiled_parts)
        predictor = load_predictor(
            folder, self._device, self._dtype, lean=True, accelerations=accelerations, **self._options
        )
        self._unnorm_key, _ = select_statistics(predictor.statistics, *self._keys)
        say_statistics(predictor.statistics, self._unnorm_key, *self._keys)
        predictor.warm_up()
        self._predictor = predictor
        self.needs = InputNeeds(history_s=predictor.earlier_s)

    def reset(self) -> None:
        if self._predictor is not None:
            self._predictor.reset()

    def reseed(self, seed: int) -> None:
        self._options["seed"] = seed
        if self._predictor is not None:
            self._predictor.reseed(seed)

    def predict(self, observation: PolicyInput) -> Answer:
        if self._predictor is None:
            raise InputError("policy spatialvla: expected load() before predict()")
        seen = observation.picture
        # At the start of an episode it is the episode's first picture, as in training.
        past = observation.before(self.needs.history_s) or next(iter(observation.history), None)
        prediction = self._predictor.predict(
            seen.rgb,
            observation.instruction,
            seen.depth,
            seen.intrinsics,
            self._unnorm_key,
            traces=seen.traces,
            earlier=past.pictures[MAIN_CAMERA] if past else None,
        )
        return Answer(tuple(to_end_effector_action(action) for action in prediction.actions))
