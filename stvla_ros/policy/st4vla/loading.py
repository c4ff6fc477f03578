"""Loads a predictor from a checkpoint's folder."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from stvla_ros.devices import parse_device, parse_dtype
from stvla_ros.policy.adapter_files import read_adapter
from stvla_ros.policy.checkpoints import is_adapter, new_folder
from stvla_ros.policy.st4vla.adapters import merge_into
from stvla_ros.policy.st4vla.checkpoint import load_model, save_model, stored_bytes
from stvla_ros.policy.st4vla.config import St4VlaConfig
from stvla_ros.policy.st4vla.denoising_steps import check_sampling
from stvla_ros.policy.st4vla.predictor import St4VlaPredictor
from stvla_ros.policy.st4vla.prompt import PromptTokenizer
from stvla_ros.policy.st4vla.sizes import GUIDANCE, STEPS
from stvla_ros.policy.statistics_file import read_run_statistics, write_statistics
from stvla_ros.policy.tokenizer_files import FILE


def load_predictor(folder: Path, device: str = "cpu", dtype: str = "float32", **options: Any) -> St4VlaPredictor:
    """
    :param folder: folder of a checkpoint, or of an adapter, which is merged into the checkpoint that it was trained on.
    :param device: ``auto`` (CUDA where there is one), ``cpu``, ``cuda`` or ``cuda:N``.
    :param dtype: ``auto`` (``devices.parse_dtype``), ``float32``, ``float16`` or ``bfloat16``.
    :param options: ``steps``, ``guidance``, ``resize``, ``seed`` of ``St4VlaPredictor``.
    :raises InputError: for a checkpoint, device, type or option that cannot be used.
    """
    target = parse_device(device, "device")
    kind = parse_dtype(dtype, "dtype", target)
    # The small files first: mistakes in them should show before gigabytes are loaded.
    check_sampling(options.get("steps", STEPS), options.get("guidance", GUIDANCE), options.get("resize", "bicubic"))
    adapter = read_adapter(folder) if is_adapter(folder) else None
    base = adapter.base if adapter else folder
    config = read_checkpoint_config(folder, base)
    prompts = PromptTokenizer.load(base, config)
    statistics = read_run_statistics(folder)
    model = load_model(base, target, kind)
    if adapter:
        model.config = config
        merge_into(model, adapter)
    return St4VlaPredictor(model, prompts, statistics, **options)


def read_checkpoint_config(folder: Path, base: Path) -> St4VlaConfig:
    """A checkpoint's configuration. For an adapter: its base's, with the changes of the adapter's training.

    :raises InputError: when it cannot be used.
    """
    config = St4VlaConfig.read(base)
    if folder == base:
        return config
    own = St4VlaConfig.read(folder)
    return replace(config, prompt=own.prompt, gradient_decay=own.gradient_decay, published=own.published)


def write_merged(adapter: Path, output: Path, dtype: str = "float32") -> None:
    """Write an adapter and its checkpoint as one checkpoint. Runs on the CPU.

    :param adapter: folder of the adapter.
    :param output: a new or empty folder.
    :param dtype: type of the weights written.
    :raises InputError: when ``load_predictor`` refuses the adapter, or the folder is not free; then nothing was made.
    """
    kind = parse_dtype(dtype, "dtype")
    loaded = load_predictor(adapter, dtype=dtype)
    with new_folder(output, stored_bytes(loaded.model, kind)) as aside:
        save_model(loaded.model, aside, kind)
        (aside / FILE).write_bytes(loaded.prompts.content)
        write_statistics(aside, loaded.statistics)
