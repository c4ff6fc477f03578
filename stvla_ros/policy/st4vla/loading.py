"""From a checkpoint's folder to something that predicts."""

from pathlib import Path
from typing import Any

from stvla_ros.devices import parse_device, parse_dtype
from stvla_ros.policy.st4vla.checkpoint import load_model, read_run_statistics
from stvla_ros.policy.st4vla.config import St4VlaConfig
from stvla_ros.policy.st4vla.predictor import St4VlaPredictor, check_sampling
from stvla_ros.policy.st4vla.prompt import PromptTokenizer
from stvla_ros.policy.st4vla.sizes import GUIDANCE, STEPS


def load_predictor(folder: Path, device: str = "cpu", dtype: str = "float32", **options: Any) -> St4VlaPredictor:
    """
    :param folder: of a checkpoint.
    :param device: ``auto`` (CUDA where there is one), ``cpu``, ``cuda`` or ``cuda:N``.
    :param dtype: ``auto`` (``devices.parse_dtype``), ``float32``, ``float16`` or ``bfloat16``.
    :param options: ``steps``, ``guidance``, ``resize``, ``seed`` of ``St4VlaPredictor``.
    :raises InputError: for a checkpoint, device, type or option that cannot be used.
    """
    target = parse_device(device, "device")
    kind = parse_dtype(dtype, "dtype", target)
    # The small files first: what is wrong with them should not take the loading of gigabytes to be found.
    check_sampling(options.get("steps", STEPS), options.get("guidance", GUIDANCE), options.get("resize", "bicubic"))
    config = St4VlaConfig.read(folder)
    prompts = PromptTokenizer.load(folder, config)
    statistics = read_run_statistics(folder)
    return St4VlaPredictor(load_model(folder, target, kind), prompts, statistics, **options)
