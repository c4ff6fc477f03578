"""ST4VLA as a policy."""

from typing import TYPE_CHECKING

from stvla_ros.errors import InputError
from stvla_ros.policy.action_statistics import say_statistics, select_statistics, to_end_effector_action
from stvla_ros.policy.base import Answer, Policy, PolicyInput
from stvla_ros.policy.st4vla.published_client import PublishedClient
from stvla_ros.policy.st4vla.sizes import GUIDANCE, STEPS

if TYPE_CHECKING:
    from stvla_ros.policy.st4vla.predictor import St4VlaPredictor


class St4VlaPolicy(Policy):
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
        self._checkpoint = checkpoint
        self._device, self._dtype = device, dtype
        self._keys = (unnorm_key, fallback_unnorm_key)
        self._options = {"resize": resize, "steps": steps, "guidance": guidance, "seed": seed}
        self._client = PublishedClient(client) if client else None
        self._threads = threads
        self._predictor: St4VlaPredictor | None = None
        self._unnorm_key = ""

    def load(self) -> None:
        """:raises InputError: when one of the parameters cannot be used."""
        # Imported here: a launcher that only checks the parameters need not wait for torch.
        from stvla_ros.devices import free_memory, set_threads
        from stvla_ros.policy.checkpoints import find_checkpoint
        from stvla_ros.policy.st4vla.loading import load_predictor

        set_threads(self._threads)
        self._predictor = None  # never two networks in memory
        free_memory()
        predictor = load_predictor(find_checkpoint(self._checkpoint), self._device, self._dtype, **self._options)
        if (views := predictor.model.config.views) != 1:
            raise InputError(f"policy st4vla: the checkpoint needs {views} pictures, but there is only one camera")
        self._unnorm_key, _ = select_statistics(predictor.statistics, *self._keys)
        say_statistics(predictor.statistics, self._unnorm_key, *self._keys)
        predictor.warm_up()
        self._predictor = predictor

    def reset(self) -> None:
        if self._client is not None:
            self._client.reset()
        if self._predictor is not None:
            self._predictor.reset()

    def reseed(self, seed: int) -> None:
        self._options["seed"] = seed
        if self._predictor is not None:
            self._predictor.reseed(seed)

    def predict(self, observation: PolicyInput) -> Answer:
        if self._predictor is None:
            raise InputError("policy st4vla: expected load() before predict()")
        chunk = self._predictor.predict([observation.picture.rgb], observation.instruction, self._unnorm_key)
        if self._client is not None:
            return Answer((self._client.step(chunk.actions),))
        return Answer(tuple(to_end_effector_action(action) for action in chunk.actions))
