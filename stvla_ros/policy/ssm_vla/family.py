"""The family after Farsighted-LAM / SSM-VLA: how its checkpoints are made, trained and checked."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stvla_ros.errors import InputError
from stvla_ros.policy.families import LATENT, PolicyFamily, Remark
from stvla_ros.policy.ssm_vla.policy import SsmVlaPolicy
from stvla_ros.policy.ssm_vla.sizes import MODEL_TYPE, size_names
from stvla_ros.policy.ssm_vla.training.options import SsmVlaOptions

if TYPE_CHECKING:
    from stvla_ros.policy.trainable import Start, Trainable


class SsmVlaFamily(PolicyFamily):
    name = "ssm_vla"
    model_types = (MODEL_TYPE,)
    sizes = size_names()
    options = SsmVlaOptions
    objectives = {LATENT: ()}
    action_free = frozenset({LATENT})

    @property
    def policy(self) -> type[SsmVlaPolicy]:
        return SsmVlaPolicy

    def load(self, folder: Path, device: str, dtype: str, **options: Any) -> Any:
        """The latent action model, in float32 whatever ``dtype`` says: its codes are nearest neighbours."""
        from stvla_ros.devices import parse_device
        from stvla_ros.policy.ssm_vla.predictor import LamPredictor

        if options:
            raise InputError(f"checkpoint {folder}: a latent action model has no options, got {', '.join(options)}")
        return LamPredictor(folder, parse_device(device, "device"))

    def check(self, folder: Path, unnorm_key: str = "", fallback_unnorm_key: str = "") -> Iterator[Remark]:
        from stvla_ros.policy.ssm_vla.checkpoint import check_weights

        try:
            check_weights(folder)
        except InputError as problem:
            yield Remark("error", str(problem), "copy the checkpoint again, or train it again")
            return
        millions = sum(self.inspect(folder).parts.values()) / 1e6
        yield Remark("ok", f"checkpoint {folder}: a latent action model, {millions:.2f} million numbers, complete")
        yield Remark("note", f"checkpoint {folder}: no policy is in it", "use it with stvla latent, not on a robot")

    def create(self, folder: Path, size: str, seed: int) -> None:
        from stvla_ros.policy.ssm_vla.create import create_checkpoint

        create_checkpoint(folder, size, seed)

    def trainable(self, start: "Start") -> "Trainable":
        from stvla_ros.policy.ssm_vla.training.trainable import SsmVlaTrainable

        return SsmVlaTrainable(start)
