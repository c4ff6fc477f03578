"""SpatialVLA as a family of policies: how its checkpoints are made, loaded, checked, merged and trained."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stvla_ros.errors import InputError
from stvla_ros.policy.action_statistics import ActionStatistics, read_statistics
from stvla_ros.policy.checkpoint_remarks import Remark, remark_on_statistics
from stvla_ros.policy.checkpoints import is_adapter, read_json
from stvla_ros.policy.families import ACTIONS, Contents, PictureTokens, PolicyFamily
from stvla_ros.policy.samples import SCENE_POINTS_FEATURE
from stvla_ros.policy.spatialvla.policy import SpatialVlaPolicy
from stvla_ros.policy.spatialvla.sizes import MODEL_TYPE, PROCESSOR_CONFIG, size_names
from stvla_ros.policy.spatialvla.training.options import SCENE, SpatialVlaOptions

if TYPE_CHECKING:
    import torch

    from stvla_ros.policy.spatialvla.predictor import SpatialVlaPredictor
    from stvla_ros.policy.trainable import Start, Trainable

_DOWNLOAD = "copy it again, or: hf download ID --local-dir FOLDER, then give FOLDER"


class SpatialVlaFamily(PolicyFamily):
    name = "spatialvla"
    model_types = (MODEL_TYPE,)
    sizes = size_names()
    options = SpatialVlaOptions
    objectives = {ACTIONS: (), SCENE: (SCENE_POINTS_FEATURE,)}
    takes_traces = True

    @property
    def policy(self) -> type[SpatialVlaPolicy]:
        return SpatialVlaPolicy

    def load(self, folder: Path, device: str, dtype: str, **options: Any) -> "SpatialVlaPredictor":
        """:param options: ``accelerations``, ``resize``, ``temperature``, ``seed`` of ``SpatialVlaPredictor``."""
        from stvla_ros.policy.spatialvla.loading import load_predictor

        return load_predictor(folder, device, dtype, **options)

    def check(self, folder: Path, unnorm_key: str = "", fallback_unnorm_key: str = "") -> Iterator[Remark]:
        from stvla_ros.policy.adapter_files import read_adapter

        base = folder
        if is_adapter(folder):
            try:
                base = read_adapter(folder).base
            except InputError as problem:
                advice = "give the folder of the checkpoint that the adapter was trained on its old place"
                yield Remark("error", str(problem), advice)
                return
            yield Remark("ok", f"adapter {folder}, on {base}")
        yield from _check_weights(base)
        yield from _check_processor(folder, unnorm_key, fallback_unnorm_key)

    def inspect(self, folder: Path) -> Contents:
        from stvla_ros.policy.adapter_files import read_adapter

        base = read_adapter(folder).base if is_adapter(folder) else None
        parts = super().inspect(base or folder).parts
        return Contents(parts, tuple(self.statistics(folder)), base)

    def statistics(self, folder: Path) -> Mapping[str, ActionStatistics]:
        return read_statistics(read_json(folder / PROCESSOR_CONFIG))

    def picture_encoder(self, folder: Path, device: "torch.device") -> PictureTokens:
        from stvla_ros.policy.spatialvla.seeing import SeeingPart

        return SeeingPart(folder, device)

    def create(self, folder: Path, size: str, seed: int) -> None:
        from stvla_ros.policy.spatialvla.create import create_checkpoint

        create_checkpoint(folder, size, seed)

    def merge(self, adapter: Path, output: Path, dtype: str) -> None:
        from stvla_ros.policy.spatialvla.loading import write_merged

        write_merged(adapter, output, dtype)

    def trainable(self, start: "Start") -> "Trainable":
        from stvla_ros.policy.spatialvla.training.trainable import SpatialVlaTrainable

        return SpatialVlaTrainable(start)


def _check_weights(base: Path) -> Iterator[Remark]:
    from stvla_ros.policy.spatialvla.checkpoint import check_weights
    from stvla_ros.policy.spatialvla.prompt import PromptTokenizer

    try:
        model, files = check_weights(base)
        config = model.config
        PromptTokenizer.load(base, config.image_token_id, config.text.vocab_size, config.num_image_tokens)
    except InputError as problem:
        yield Remark("error", str(problem), _DOWNLOAD)
        return
    parameters = sum(tensor.numel() for tensor in model.state_dict().values())
    gigabytes = sum(file.stat().st_size for file in files) / 1e9
    yield Remark("ok", f"checkpoint {base}: {parameters / 1e6:.0f} million parameters, {gigabytes:.2f} GB, complete")


def _check_processor(folder: Path, unnorm_key: str, fallback_unnorm_key: str) -> Iterator[Remark]:
    from stvla_ros.policy.spatialvla.actions.action_tokenizer import ActionTokenizer

    try:
        processor = read_json(folder / PROCESSOR_CONFIG)
        ActionTokenizer.from_config(processor)
        statistics = read_statistics(processor)
    except InputError as problem:
        yield Remark("error", f"checkpoint {folder}: {problem}", _DOWNLOAD)
        return
    yield remark_on_statistics(folder, statistics, unnorm_key, fallback_unnorm_key)
