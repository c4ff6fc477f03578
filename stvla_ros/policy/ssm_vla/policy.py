"""Acting after SSM-VLA."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stvla_ros.errors import InputError
from stvla_ros.policy.action_statistics import to_end_effector_action
from stvla_ros.policy.base import MAIN_CAMERA, Answer, InputNeeds, PolicyInput
from stvla_ros.policy.checkpoint_places import find_downloaded
from stvla_ros.policy.network_policy import NetworkPolicy
from stvla_ros.policy.sampling import check_resize, check_seed
from stvla_ros.policy.ssm_vla.config import no_policy, read_policy_config
from stvla_ros.policy.ssm_vla.sampling_steps import check_steps
from stvla_ros.policy.ssm_vla.sizes import STEPS

if TYPE_CHECKING:
    from stvla_ros.policy.ssm_vla.predictor import SsmVlaPredictor

EXPECTED = "expected"
"""Name of the thought that is the predicted picture."""


class SsmVlaPolicy(NetworkPolicy["SsmVlaPredictor"]):
    """
    :param checkpoint: a folder, or an id on the Hugging Face hub.
    :param device: device, see ``stvla_ros.policy.load_policy``.
    :param unnorm_key: data set whose statistics turn scaled actions into metres; empty: the checkpoint's only one, the
        one added to the published ones, or else ``fallback_unnorm_key``.
    :param fallback_unnorm_key: the robot's data set.
    :param resize: method of resizing pictures to the model's size: ``bicubic`` or ``area``.
    :param steps: number of the sampler's steps.
    :param seed: seed of the noise.
    :param vision_of: file with other episodes' frames, see ``SsmVlaPredictor``; empty: none.
    :param threads: cores that torch may use on a CPU; 0 for half of them, see ``devices.set_threads``.
    :raises InputError: for a latent action model without a policy, and for a value that cannot be used.
    """

    name = "ssm_vla"
    draws_at_random = True

    def __init__(
        self,
        checkpoint: str,
        device: str = "auto",
        unnorm_key: str = "",
        fallback_unnorm_key: str = "",
        resize: str = "area",
        steps: int = STEPS,
        seed: int = 0,
        vision_of: str = "",
        threads: int = 0,
    ) -> None:
        check_steps(steps)
        check_resize(resize)
        check_seed(seed)
        folder = find_downloaded(checkpoint)
        if folder is not None and read_policy_config(folder) is None:
            raise InputError(no_policy(checkpoint))
        options = {"resize": resize, "steps": steps, "seed": seed, "vision_of": vision_of}
        super().__init__(checkpoint, unnorm_key, fallback_unnorm_key, threads, options)
        self._device = device

    def _load(self, folder: Path, options: Mapping[str, Any]) -> "SsmVlaPredictor":
        from stvla_ros.policy.ssm_vla.loading import load_predictor

        predictor = load_predictor(folder, self._device, **options)
        self.needs = InputNeeds(history_s=predictor.model.config.before_s)
        return predictor

    def predict(self, observation: PolicyInput) -> Answer:
        seen = observation.picture
        # At the start of an episode it is the episode's first picture, as in training.
        past = observation.before(self.needs.history_s) or next(iter(observation.history), None)
        chunk = self._predictor.predict(
            seen.rgb,
            observation.instruction,
            seen.depth,
            seen.intrinsics,
            self._unnorm_key,
            past.pictures[MAIN_CAMERA] if past else None,
        )
        return Answer(tuple(to_end_effector_action(action) for action in chunk.actions), {EXPECTED: chunk.expected})
