"""Loads a predictor from a checkpoint's folder."""

from pathlib import Path

from stvla_ros.devices import parse_device
from stvla_ros.policy.ssm_vla.checkpoint import load_policy_model, required_policy_config
from stvla_ros.policy.ssm_vla.predictor import SsmVlaPredictor
from stvla_ros.policy.ssm_vla.sampling_steps import check_steps
from stvla_ros.policy.ssm_vla.sizes import STEPS
from stvla_ros.policy.ssm_vla.words import WordTokenizer
from stvla_ros.policy.statistics_file import read_run_statistics


def load_predictor(
    folder: Path,
    device: str = "cpu",
    steps: int = STEPS,
    resize: str = "area",
    seed: int = 0,
    vision_of: str = "",
) -> SsmVlaPredictor:
    """
    :param folder: folder of a checkpoint with a policy.
    :param device: ``auto`` (CUDA where there is one), ``cpu``, ``cuda`` or ``cuda:N``.
    :param steps, resize, seed, vision_of: options of ``SsmVlaPredictor``.
    :raises InputError: for a checkpoint, device or option that cannot be used.
    """
    target = parse_device(device, "device")
    # The small files first: mistakes in them should show before the weights are loaded.
    check_steps(steps)
    words = WordTokenizer.load(folder, required_policy_config(folder))
    statistics = read_run_statistics(folder)
    return SsmVlaPredictor(load_policy_model(folder, target), words, statistics, steps, resize, seed, vision_of)
