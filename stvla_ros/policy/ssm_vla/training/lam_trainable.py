"""The latent action model as the training sees it."""

import dataclasses
from collections.abc import Collection
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from stvla_ros.errors import InputError
from stvla_ros.perception.depth.constant import NO_DEPTH
from stvla_ros.policy.activation_memory import peak_bytes
from stvla_ros.policy.families import LATENT
from stvla_ros.policy.keyframes import MOTIONS
from stvla_ros.policy.ridge_probe import held_out_errors
from stvla_ros.policy.samples import Augmentation, Samples
from stvla_ros.policy.ssm_vla.checkpoint import load_model, save_model, stored_bytes
from stvla_ros.policy.ssm_vla.config import LamConfig, read_lam_config
from stvla_ros.policy.ssm_vla.create import random_model
from stvla_ros.policy.ssm_vla.lam.latent_action_model import Clip
from stvla_ros.policy.ssm_vla.lam.seen_scene import Scene
from stvla_ros.policy.ssm_vla.lam.tokens import load_frozen
from stvla_ros.policy.ssm_vla.training.lam_batch import LamBatch, LamBatchMaker, LamPreparation
from stvla_ros.policy.ssm_vla.training.losses import (
    colour_loss,
    commitment_loss,
    depth_loss,
    explained,
    motion_loss,
    target_of,
)
from stvla_ros.policy.ssm_vla.training.options import SsmVlaOptions
from stvla_ros.policy.trainable import Losses, Start, Trainable

_FROZEN = {"small": "small", "dinov2": "facebook/dinov2-with-registers-base"}
# Numbers of a code that is not quantised: all four of a keyframe are 16.
_CONTINUOUS = 4
_PROBE_BATCH = 32


class LamTrainable(Trainable):
    """
    :param start: see ``Start``.
    :raises InputError: for a checkpoint, inputs or options that cannot be used.
    """

    tables = ("queries", "keyframes")

    def __init__(self, start: Start) -> None:
        options: SsmVlaOptions = start.options
        self._start, self._options = start, options
        if start.lora is not None:
            raise InputError("lora: expected none, the family ssm_vla has no adapters")
        config = told_config(read_lam_config(start.base), options, start.is_new)
        check_inputs(config, start)
        if start.is_new:
            if frozen := load_frozen(config, start.device):
                config = dataclasses.replace(config, encoder_width=frozen.width, encoder_fingerprint=frozen.fingerprint)
            self._model = random_model(config, start.seed, frozen).to(start.device)
        else:
            self._model = load_model(start.base, start.device)
        self._model.requires_grad_(True).train()
        parts: dict[str, nn.Module] = {"model": self._model}
        if options.label_share:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(start.seed)
                parts["motion"] = nn.Linear(config.queries * config.code_width, len(MOTIONS)).to(start.device)
        self.network, self.module = self._model, nn.ModuleDict(parts)
        self.preparation = LamPreparation(self._model.frame_size, start.inputs.resize)
        seconds = ", ".join(f"{each:g}" for each in config.keyframes_s)
        codes = f"codes of {config.codes}" if config.quantiser == "vq" else "codes without a codebook"
        self.summary = f"keyframes at {seconds} s, {config.queries} {codes} each, encoder {config.encoder}"

    def use(self, samples: Samples) -> None:
        config, options = self._model.config, self._options
        self._batches = LamBatchMaker(samples, config.keyframes_s, options.label_share, self._start.seed)
        self.remarks = self._batches.remarks

    def batch(self, indices: np.ndarray, augmentation: Augmentation | None = None) -> LamBatch:
        return self._batches.make(indices, augmentation)

    def losses(  # type: ignore[override]  # it is given the batches that it made
        self, batch: LamBatch, objectives: Collection[str], errors: bool = False
    ) -> Losses:
        model, options, clip = self._model, self._options, batch.clip
        with self._mixed():
            codes = model.encode(clip)
            rebuilt = model.decode(clip.frame(0), codes.codes)
        clip = clip.resized(model.config.picture_size)
        target = target_of(clip, model.config.rebuilds_depth)
        parts = {"rgb": colour_loss(rebuilt, target, options.change_weight)}
        loss = options.rgb_weight * parts["rgb"]
        if rebuilt.inverse is not None:
            parts["depth"] = depth_loss(rebuilt, target, options.change_weight)
            loss = loss + options.depth_weight * parts["depth"]
        if model.config.quantiser == "vq":
            parts["commitment"] = commitment_loss(codes.commitment, clip.valid)
            loss = loss + options.commitment * parts["commitment"]
        if "motion" in self.module:
            parts["motion"] = motion_loss(self.module["motion"](codes.codes.flatten(2)), batch.motion)
            loss = loss + options.label_weight * parts["motion"]
        with torch.no_grad():
            parts |= {**explained(rebuilt, clip, target), **model.quantiser.figures()}
        return Losses({LATENT: loss}, parts)

    def _mixed(self) -> AbstractContextManager[Any]:
        precision = self._start.precision
        device = next(self._model.parameters()).device.type
        return torch.autocast(device, precision) if precision != torch.float32 else nullcontext()

    def begin_step(self) -> None:
        self._model.quantiser.forget()

    def end_step(self) -> None:
        self._model.quantiser.follow()

    @torch.no_grad()
    def probe(self) -> dict[str, float]:
        """R² of the arm's motions until each keyframe, told linearly by its codes, by episode; none where data do not
        tell them. Healthy losses do not say that a code is an action: this does.
        """
        batches, config = self._batches, self._model.config
        if not len(batches.probed):
            return {}
        codes = []
        for first in range(0, len(batches.probed), _PROBE_BATCH):
            clip = batches.clip(batches.probed[first : first + _PROBE_BATCH])
            device = self._start.device
            with self._mixed():
                told = self._model.encode(Clip(clip.frames.to(device), clip.valid.to(device)))
            codes.append(told.codes.float().flatten(2).cpu().numpy())
        found, episodes = np.concatenate(codes), batches.probed_episodes()
        figures = {}
        for place, seconds in enumerate(config.keyframes_s):
            errors = held_out_errors(found[:, place], batches.probed_motions[:, place], episodes)
            for column, name in enumerate(MOTIONS):
                if np.isfinite(value := errors.explained([column]).value):
                    figures[f"probe_{name}_{seconds:g}s"] = value
        return figures

    def activation_bytes(self, batch_size: int) -> int:
        """Counted: the most that there is at once of a loss and its gradients."""
        counted = peak_bytes(lambda: self._usual_loss(batch_size), self.module)
        self._model.quantiser.forget()
        return counted

    def _usual_loss(self, batch_size: int) -> torch.Tensor:
        """Of clips without content."""
        config = self._model.config
        keyframes, size = len(config.keyframes_s), self._model.frame_size
        frames = batch_size * (keyframes + 1)
        scene = Scene(
            torch.zeros(frames, 3, size, size), torch.ones(frames, size, size), torch.eye(3).expand(frames, 3, 3)
        )
        valid = torch.ones(batch_size, keyframes, dtype=torch.bool)
        batch = LamBatch(Clip(scene, valid), torch.zeros(batch_size, keyframes, len(MOTIONS)))
        return self.losses(batch.to(next(self._model.parameters()).device), [LATENT]).objectives[LATENT]

    def result_bytes(self) -> int:
        return stored_bytes(self._model)

    def save(self, folder: Path) -> None:
        save_model(self._model, folder)


def told_config(config: LamConfig, options: SsmVlaOptions, is_new: bool) -> LamConfig:
    """The configuration with what the options say in place of its own.

    :param is_new: whether the weights are random, so that the network may become another.
    :raises InputError: for another network than a trained one is.
    """
    changes: dict[str, Any] = {
        name: value
        for name in ("keyframes_s", "quantiser", "depth", "encoder", "encoder_checkpoint")
        if (value := getattr(options, name))
    }
    if not is_new:
        for name, value in changes.items():
            if (has := getattr(config, name)) != value:
                raise InputError(
                    f"family.options.{name}: expected {has}, which the checkpoint was trained with, got {value}"
                )
        return config
    if changes.get("encoder", config.encoder) == "stem":
        if options.encoder_checkpoint:
            raise InputError(
                f"family.options.encoder_checkpoint: expected none for a stem, got {options.encoder_checkpoint!r}"
            )
        changes |= {"encoder_width": config.width, "encoder_checkpoint": ""}
    elif "encoder" in changes:
        changes.setdefault("encoder_checkpoint", _FROZEN[changes["encoder"]])
    if changes.get("quantiser") == "none":
        changes["code_width"] = _CONTINUOUS
    try:
        return dataclasses.replace(config, **changes)
    except InputError as error:
        raise InputError(f"family.options.{error}") from None


def check_inputs(config: LamConfig, start: Start) -> None:
    """:raises InputError: for inputs that a latent action model cannot be shown."""
    if start.inputs.traces != "none":
        raise InputError(
            f"inputs.traces: expected none, a latent action model sees no traces, got {start.inputs.traces}"
        )
    if start.inputs.depth == NO_DEPTH and config.depth != "none":
        raise InputError(
            f"inputs.depth: expected sensor or a network, a depth that is {NO_DEPTH} tells nothing; or set "
            "family.options.depth to none"
        )
