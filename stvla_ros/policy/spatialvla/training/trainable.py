"""The model before training, and what is written after it."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from stvla_ros.learning.training.config import TrainingConfig, to_mapping
from stvla_ros.learning.training.loop import Trainer
from stvla_ros.policy.action_statistics import ActionStatistics
from stvla_ros.policy.checkpoints import TRAINING_RECORD, find_base, new_folder, read_json
from stvla_ros.policy.commands import merge_adapter
from stvla_ros.policy.spatialvla.actions.action_tokenizer import ActionTokenizer
from stvla_ros.policy.spatialvla.adapters import save_adapter
from stvla_ros.policy.spatialvla.checkpoint import load_model
from stvla_ros.policy.spatialvla.config import SpatialVlaConfig
from stvla_ros.policy.spatialvla.create import create_checkpoint
from stvla_ros.policy.spatialvla.model import SpatialVla
from stvla_ros.policy.spatialvla.predictor import PROCESSOR_CONFIG, SpatialVlaPredictor
from stvla_ros.policy.spatialvla.prompt import PromptTokenizer
from stvla_ros.policy.spatialvla.training.new_actions import fit_processor, move_embeddings, smooth_embeddings


@dataclass(frozen=True)
class PreparedModel:
    """
    :param base: folder of the checkpoint that training starts from.
    :param model: on its device, ``requires_grad`` set on what is trained.
    :param processor: content of processor_config.json, fitted to the training set.
    :param default_intrinsics: matrix and (width, height), for data without its own.
    """

    base: Path
    model: SpatialVla
    processor: dict[str, Any]
    action_tokenizer: ActionTokenizer
    statistics: ActionStatistics
    prompt_tokenizer: PromptTokenizer
    default_intrinsics: tuple[np.ndarray, tuple[int, int]]


def prepare_model(
    config: TrainingConfig, actions: np.ndarray, episodes: int, device: torch.device, run_folder: Path
) -> PreparedModel:
    """
    :param actions: (N, 7) of the training set.
    :raises InputError: for a checkpoint that cannot be used.
    """
    base = find_base(config.checkpoint) if config.checkpoint else _new_base(config, run_folder)
    shape = SpatialVlaConfig.read(base)
    old_processor = read_json(base / PROCESSOR_CONFIG)
    processor, tokenizer, statistics = fit_processor(
        old_processor, actions, episodes, config.data.unnorm_key, config.refit_bins
    )
    if config.consensus_width:
        processor["decoding"] = {"consensus_width": config.consensus_width}
    # Adapters are small; what they adapt may be as coarse as it was published.
    half = config.lora is not None and device.type == "cuda"
    model = load_model(base, device, torch.bfloat16 if half else torch.float32)
    if not config.checkpoint and config.smooth_actions:
        smooth_embeddings(model, tokenizer, config.seed)
    elif config.refit_bins:
        move_embeddings(model, ActionTokenizer.from_config(old_processor), tokenizer)
    if config.lora is not None:
        from stvla_ros.policy.lora import add_adapters

        add_adapters(model, config.lora, config.seed, train_action_embeddings=config.refit_bins)
    else:
        for name, parameter in model.named_parameters():
            # Depth is an input of the policy, its own depth network is not used (facts: upstream freezes it too).
            parameter.requires_grad_(not name.startswith("vision_zoe_model."))
    model.train()
    entry = processor["intrinsic_config"]["default"]
    prompt = PromptTokenizer.load(base, shape.image_token_id, shape.text.vocab_size, shape.num_image_tokens)
    intrinsics = np.array(entry["intrinsic"], dtype=np.float64), (int(entry["width"]), int(entry["height"]))
    return PreparedModel(base, model, processor, tokenizer, statistics, prompt, intrinsics)


def save_result(config: TrainingConfig, prepared: PreparedModel, trainer: Trainer, run_folder: Path) -> Path:
    """Write the checkpoint (or adapter) with everything that belongs to it. :returns: its folder."""
    result = run_folder / ("checkpoint" if config.lora is None else "adapter")
    if result.is_dir():
        shutil.rmtree(result)  # of this same run, ended before
    model = prepared.model
    size = sum(tensor.numel() * 2 for tensor in model.state_dict().values())
    with trainer.final_weights(), new_folder(result, size) as aside:
        if config.lora is None:
            predictor = SpatialVlaPredictor(model.to(torch.bfloat16), prepared.prompt_tokenizer, prepared.processor)
            predictor.save_pretrained(aside)
        else:
            # A hub id stays one: a path into this machine's cache would mean nothing elsewhere.
            save_adapter(model, aside, config.checkpoint or prepared.base, prepared.processor)
        (aside / TRAINING_RECORD).write_text(json.dumps(to_mapping(config), indent=2) + "\n")
    if config.lora is not None and config.lora.merge:
        merged = run_folder / "checkpoint"
        shutil.rmtree(merged, ignore_errors=True)
        merge_adapter(str(result), merged, "float32")
    return result


def _new_base(config: TrainingConfig, run_folder: Path) -> Path:
    """A new model in the run's folder; a run that goes on finds it there."""
    base = run_folder / "base"
    if not (base / "config.json").is_file():
        create_checkpoint(base, config.size, config.seed)
    return base
