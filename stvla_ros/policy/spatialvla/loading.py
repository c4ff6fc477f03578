"""Loads a predictor from a checkpoint's folder, and writes an adapter merged into its checkpoint."""

from pathlib import Path
from typing import Any

from stvla_ros.devices import parse_device, parse_dtype
from stvla_ros.errors import InputError
from stvla_ros.policy.adapter_files import read_adapter
from stvla_ros.policy.checkpoints import ADAPTER_CONFIG, is_adapter, new_folder, read_json
from stvla_ros.policy.spatialvla.adapters import merge_into
from stvla_ros.policy.spatialvla.checkpoint import load_model
from stvla_ros.policy.spatialvla.config import SpatialVlaConfig
from stvla_ros.policy.spatialvla.create import count_parameters
from stvla_ros.policy.spatialvla.predictor import SpatialVlaPredictor
from stvla_ros.policy.spatialvla.prompt import PromptTokenizer
from stvla_ros.policy.spatialvla.sizes import PROCESSOR_CONFIG


def load_predictor(
    folder: Path, device: str = "cpu", dtype: str = "float32", lean: bool = False, **options: Any
) -> SpatialVlaPredictor:
    """Load a checkpoint, or an adapter merged into the checkpoint that it was trained on.

    :param folder: folder in the published layout, or folder of an adapter (adapters.py).
    :param device: ``auto`` (CUDA where there is one), ``cpu``, ``cuda`` or ``cuda:N``.
    :param dtype: ``auto`` (``devices.parse_dtype``), ``float32``, ``float16`` or ``bfloat16``.
    :param lean: whether only the parts are loaded that actions from a given depth need (``SpatialVla``): of the 4B
        model, 5 GB instead of 8. A lean model cannot be saved.
    :param options: ``accelerations``, ``resize``, ``temperature``, ``seed`` of ``SpatialVlaPredictor``.
    :raises InputError: for a checkpoint, device or type that cannot be used.
    """
    target = parse_device(device, "device")
    kind = parse_dtype(dtype, "dtype", target)
    # The small files first: mistakes in them should show before gigabytes are loaded.
    adapter = read_adapter(folder) if is_adapter(folder) else None
    base = adapter.base if adapter else folder
    config = SpatialVlaConfig.read(base)
    # The adapter comes with the bins and statistics that it was trained with.
    processor = read_json(folder / PROCESSOR_CONFIG)
    prompt_tokenizer = PromptTokenizer.load(
        base, config.image_token_id, config.text.vocab_size, config.num_image_tokens
    )
    model = load_model(base, target, kind, lean)
    if adapter:
        merge_into(model, adapter)
    return SpatialVlaPredictor(model, prompt_tokenizer, processor, **options)


def write_merged(adapter: Path, output: Path, dtype: str = "float32") -> None:
    """Write an adapter and its checkpoint as one checkpoint. Runs on the CPU.

    :param adapter: folder of the adapter.
    :param output: a new or empty folder.
    :param dtype: type of the weights written.
    :raises InputError: when the folder is no adapter, its output is not free, or ``load_predictor`` refuses it; then
        nothing is left in ``output``.
    """
    bytes_each = parse_dtype(dtype, "dtype").itemsize
    if not is_adapter(adapter):
        raise InputError(f"adapter {adapter}: expected a file {ADAPTER_CONFIG}, there is none")
    config = SpatialVlaConfig.read(read_adapter(adapter).base)
    with new_folder(output, bytes_each * sum(count_parameters(config).values())) as aside:
        load_predictor(adapter, dtype=dtype).save_pretrained(aside)
