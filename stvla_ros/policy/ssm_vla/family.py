"""The family after Farsighted-LAM / SSM-VLA: how its checkpoints are made, trained and checked."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stvla_ros.errors import InputError
from stvla_ros.policy.action_statistics import ActionStatistics
from stvla_ros.policy.checkpoint_remarks import Remark, remark_on_statistics
from stvla_ros.policy.families import ACTIONS, LATENT, Contents, PolicyFamily
from stvla_ros.policy.ssm_vla.config import read_policy_config
from stvla_ros.policy.ssm_vla.policy import SsmVlaPolicy
from stvla_ros.policy.ssm_vla.sizes import MODEL_TYPE, size_names
from stvla_ros.policy.ssm_vla.training.options import CODES, VISION, SsmVlaOptions
from stvla_ros.policy.statistics_file import read_run_statistics

if TYPE_CHECKING:
    from stvla_ros.policy.trainable import Start, Trainable

_AGAIN = "copy the checkpoint again, or train it again"


class SsmVlaFamily(PolicyFamily):
    name = "ssm_vla"
    model_types = (MODEL_TYPE,)
    sizes = size_names()
    options = SsmVlaOptions
    objectives = {LATENT: (), ACTIONS: (), VISION: (), CODES: ()}
    action_free = frozenset({LATENT, VISION, CODES})

    @property
    def policy(self) -> type[SsmVlaPolicy]:
        return SsmVlaPolicy

    def load(self, folder: Path, device: str, dtype: str, **options: Any) -> Any:
        """The policy, in float32 whatever ``dtype`` says.

        :param options: ``steps``, ``resize``, ``seed`` of ``SsmVlaPredictor``.
        """
        from stvla_ros.policy.ssm_vla.loading import load_predictor

        return load_predictor(folder, device, **options)

    def latent_actions(self, folder: Path, device: str) -> Any:
        """The latent action model, in float32: its codes are nearest neighbours."""
        from stvla_ros.devices import parse_device
        from stvla_ros.policy.ssm_vla.lam_predictor import LamPredictor

        return LamPredictor(folder, parse_device(device, "device"))

    def check(self, folder: Path, unnorm_key: str = "", fallback_unnorm_key: str = "") -> Iterator[Remark]:
        from stvla_ros.policy.ssm_vla.checkpoint import check_weights
        from stvla_ros.policy.ssm_vla.words import WordTokenizer

        try:
            check_weights(folder)
            acting = read_policy_config(folder)
            if acting is not None:
                WordTokenizer.load(folder, acting)
            statistics = self.statistics(folder)
        except InputError as problem:
            yield Remark("error", str(problem), _AGAIN)
            return
        millions = sum(self.inspect(folder).parts.values()) / 1e6
        what = "a latent action model" if acting is None else "a policy with its latent action model"
        yield Remark("ok", f"checkpoint {folder}: {what}, {millions:.2f} million numbers, complete")
        if acting is None:
            yield Remark("note", f"checkpoint {folder}: no policy is in it", "use it with stvla latent, not on a robot")
        else:
            yield remark_on_statistics(folder, statistics, unnorm_key, fallback_unnorm_key)

    def inspect(self, folder: Path) -> Contents:
        return Contents(super().inspect(folder).parts, tuple(self.statistics(folder)))

    def statistics(self, folder: Path) -> Mapping[str, ActionStatistics]:
        return {} if read_policy_config(folder) is None else read_run_statistics(folder)

    def create(self, folder: Path, size: str, seed: int) -> None:
        from stvla_ros.policy.ssm_vla.create import create_checkpoint

        create_checkpoint(folder, size, seed)

    def trainable(self, start: "Start") -> "Trainable":
        """The latent action model for the objective ``latent``, the policy for the others."""
        if LATENT not in start.objectives:
            from stvla_ros.policy.ssm_vla.training.policy_trainable import SsmVlaTrainable

            return SsmVlaTrainable(start)
        if others := sorted(start.objectives - {LATENT}):
            raise InputError(
                f"objectives: expected {LATENT} alone, which trains the latent action model, or some of {ACTIONS}, "
                f"{VISION} and {CODES}, which train the policy, got {LATENT}, {', '.join(others)}"
            )
        from stvla_ros.policy.ssm_vla.training.lam_trainable import LamTrainable

        return LamTrainable(start)
