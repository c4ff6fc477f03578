"""ST4VLA as a family of policies: how its checkpoints are made, converted, loaded, checked, merged and trained."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stvla_ros.errors import InputError
from stvla_ros.policy.action_statistics import ActionStatistics
from stvla_ros.policy.checkpoint_remarks import Remark, remark_on_statistics
from stvla_ros.policy.checkpoints import is_adapter
from stvla_ros.policy.families import ACTIONS, GROUNDING, Contents, PolicyFamily
from stvla_ros.policy.st4vla.policy import St4VlaPolicy
from stvla_ros.policy.st4vla.sizes import MODEL_TYPE, size_names
from stvla_ros.policy.st4vla.training.options import St4VlaOptions
from stvla_ros.policy.statistics_file import read_run_statistics

if TYPE_CHECKING:
    from stvla_ros.policy.trainable import Start, Trainable

_AGAIN = "convert or copy it again (stvla model convert)"


class St4VlaFamily(PolicyFamily):
    name = "st4vla"
    model_types = (MODEL_TYPE,)
    sizes = size_names()
    files = ("config.json", "tokenizer.json")
    options = St4VlaOptions
    objectives = {ACTIONS: (), GROUNDING: ()}

    @property
    def policy(self) -> type[St4VlaPolicy]:
        return St4VlaPolicy

    def load(self, folder: Path, device: str, dtype: str, **options: Any) -> Any:
        """:param options: ``steps``, ``guidance``, ``resize``, ``seed`` of ``St4VlaPredictor``."""
        from stvla_ros.policy.st4vla.loading import load_predictor

        return load_predictor(folder, device, dtype, **options)

    def check(self, folder: Path, unnorm_key: str = "", fallback_unnorm_key: str = "") -> Iterator[Remark]:
        from stvla_ros.policy.adapter_files import read_adapter
        from stvla_ros.policy.st4vla.checkpoint import check_weights
        from stvla_ros.policy.st4vla.loading import read_checkpoint_config
        from stvla_ros.policy.st4vla.prompt import PromptTokenizer

        try:
            base = read_adapter(folder).base if is_adapter(folder) else folder
            _, files = check_weights(base)
            PromptTokenizer.load(base, read_checkpoint_config(folder, base))
            statistics = self.statistics(folder)
        except InputError as problem:
            yield Remark("error", str(problem), _AGAIN)
            return
        if base != folder:
            yield Remark("ok", f"adapter {folder}, on {base}")
        millions = sum(self.inspect(folder).parts.values()) / 1e6
        gigabytes = sum(file.stat().st_size for file in files) / 1e9
        yield Remark("ok", f"checkpoint {base}: {millions:.1f} million parameters, {gigabytes:.2f} GB, complete")
        yield remark_on_statistics(folder, statistics, unnorm_key, fallback_unnorm_key)

    def inspect(self, folder: Path) -> Contents:
        from stvla_ros.policy.adapter_files import read_adapter

        base = read_adapter(folder).base if is_adapter(folder) else None
        return Contents(super().inspect(base or folder).parts, tuple(self.statistics(folder)), base)

    def statistics(self, folder: Path) -> Mapping[str, ActionStatistics]:
        return read_run_statistics(folder)

    def create(self, folder: Path, size: str, seed: int) -> None:
        from stvla_ros.policy.st4vla.create import create_checkpoint

        create_checkpoint(folder, size, seed)

    def convert(self, source: Path, base: Path | None, output: Path, dtype: str, parameters: Mapping[str, Any]) -> None:
        from stvla_ros.policy.st4vla.conversion import write_converted

        write_converted(source, base, output, dtype, parameters)

    def merge(self, adapter: Path, output: Path, dtype: str) -> None:
        from stvla_ros.policy.st4vla.loading import write_merged

        write_merged(adapter, output, dtype)

    def trainable(self, start: "Start") -> "Trainable":
        from stvla_ros.policy.st4vla.training.trainable import St4VlaTrainable

        return St4VlaTrainable(start)
