"""ST4VLA as a policy."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stvla_ros.errors import InputError
from stvla_ros.policy.action_statistics import to_end_effector_action
from stvla_ros.policy.base import Answer, Picture, PolicyInput
from stvla_ros.policy.grounding.answers import thoughts_of_answer
from stvla_ros.policy.network_policy import NetworkPolicy
from stvla_ros.policy.sampling import check_seed
from stvla_ros.policy.st4vla.denoising_steps import check_sampling
from stvla_ros.policy.st4vla.published_client import PublishedClient
from stvla_ros.policy.st4vla.sizes import GUIDANCE, STEPS
from stvla_ros.policy.thoughts import Thought

if TYPE_CHECKING:
    from stvla_ros.policy.st4vla.predictor import St4VlaPredictor


class St4VlaPolicy(NetworkPolicy["St4VlaPredictor"]):
    """
    :param checkpoint: folder of a checkpoint, or an id on the Hugging Face hub; a published run is converted first
        (`stvla model convert`).
    :param device: device, see ``stvla_ros.policy.load_policy``.
    :param dtype: type of the vision-language model and DINOv2, see ``stvla_ros.policy.load_policy``.
    :param unnorm_key: data set whose statistics turn normalised actions into metres; empty: the checkpoint's only one,
        the one added to the published ones, or else ``fallback_unnorm_key``.
    :param fallback_unnorm_key: the robot's data set.
    :param resize: method of resizing pictures to the model's size: ``bicubic`` or ``area``.
    :param steps: number of steps of the sampler.
    :param guidance: strength of the guidance; 1 for none.
    :param client: robot whose published SimplerEnv client is imitated, ``widowx`` or ``google_robot``: each answer is
        then one action, made as that client makes it. This requires one inference at every control step. Empty: the
        answer is the whole chunk, and the caller executes it.
    :param seed: seed of the noise.
    :param threads: cores that torch may use on a CPU; 0 for half of them, see ``devices.set_threads``.
    """

    name = "st4vla"
    draws_at_random = True
    answers_in_words = True

    def __init__(
        self,
        checkpoint: str,
        device: str = "auto",
        dtype: str = "auto",
        unnorm_key: str = "",
        fallback_unnorm_key: str = "",
        resize: str = "bicubic",
        steps: int = STEPS,
        guidance: float = GUIDANCE,
        client: str = "",
        seed: int = 0,
        threads: int = 0,
    ) -> None:
        check_sampling(steps, guidance, resize)
        check_seed(seed)
        options = {"resize": resize, "steps": steps, "guidance": guidance, "seed": seed}
        super().__init__(checkpoint, unnorm_key, fallback_unnorm_key, threads, options)
        self._device, self._dtype = device, dtype
        self._client = PublishedClient(client) if client else None
        self._speaker: St4VlaPredictor | None = None

    def _load(self, folder: Path, options: Mapping[str, Any]) -> "St4VlaPredictor":
        from stvla_ros.policy.st4vla.loading import load_predictor

        self._speaker = None
        predictor = load_predictor(folder, self._device, self._dtype, **options)
        if (views := predictor.model.config.views) != 1:
            raise InputError(f"policy st4vla: the checkpoint needs {views} pictures, but there is only one camera")
        self._speaker = predictor.beside()
        return predictor

    def reset(self) -> None:
        if self._client is not None:
            self._client.reset()
        super().reset()

    def ask(self, picture: Picture, question: str, given_up: Callable[[], bool]) -> Mapping[str, Thought]:
        if self._speaker is None:
            raise InputError("policy st4vla: expected load() before ask()")
        answer = self._speaker.ask([picture.rgb], question, given_up=given_up)
        return thoughts_of_answer(answer, self._speaker.picture_size, picture.rgb)

    def predict(self, observation: PolicyInput) -> Answer:
        chunk = self._predictor.predict([observation.picture.rgb], observation.instruction, self._unnorm_key)
        if self._client is not None:
            return Answer((self._client.step(chunk.actions),))
        return Answer(tuple(to_end_effector_action(action) for action in chunk.actions))
