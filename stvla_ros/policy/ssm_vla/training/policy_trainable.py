"""The policy as the training sees it. Its latent action model stays as it is."""

import dataclasses
from collections.abc import Collection
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from stvla_ros.errors import InputError
from stvla_ros.policy.action_statistics import ActionStatistics, fit_statistics
from stvla_ros.policy.activation_memory import peak_bytes
from stvla_ros.policy.families import ACTIONS
from stvla_ros.policy.samples import Augmentation, Samples
from stvla_ros.policy.ssm_vla.action_scale import unscaled
from stvla_ros.policy.ssm_vla.checkpoint import load_model, load_policy_model, save_model, stored_bytes
from stvla_ros.policy.ssm_vla.config import PolicyConfig, new_policy_config, read_lam_config, read_policy_config
from stvla_ros.policy.ssm_vla.create import random_policy
from stvla_ros.policy.ssm_vla.lam.latent_action_model import Clip
from stvla_ros.policy.ssm_vla.lam.seen_scene import Scene
from stvla_ros.policy.ssm_vla.model import Observations, SsmVla, States
from stvla_ros.policy.ssm_vla.sizes import STEPS
from stvla_ros.policy.ssm_vla.training.lam_batch import LamPreparation, check_clip_stamps
from stvla_ros.policy.ssm_vla.training.lam_trainable import check_inputs, told_config
from stvla_ros.policy.ssm_vla.training.losses import colour_loss, depth_loss, explained, target_of
from stvla_ros.policy.ssm_vla.training.options import CODES, VISION, SsmVlaOptions
from stvla_ros.policy.ssm_vla.training.policy_batch import PolicyBatch, PolicyBatchMaker
from stvla_ros.policy.ssm_vla.training.policy_losses import codes_loss, flow_loss, now_and_then
from stvla_ros.policy.ssm_vla.vla.flow_head import ACTION, FlowSampler
from stvla_ros.policy.ssm_vla.vocabulary import make_tokenizer
from stvla_ros.policy.ssm_vla.words import WordTokenizer
from stvla_ros.policy.statistics_file import read_run_statistics, write_statistics
from stvla_ros.policy.tokenizer_files import FILE
from stvla_ros.policy.trainable import Losses, Start, Trainable
from stvla_ros.policy.training_record import training_record
from stvla_ros.policy.untrained import UNTRAINED_KEY, untrained_statistics

# Size of the policy of a latent action model that has none.
_USUAL_SIZE = "small"
_TEXT_TOKENS = 10
_NEVER_TRAINED = "the latent action model was never trained: its codes tell nothing (config/train/lam.yaml)"


class SsmVlaTrainable(Trainable):
    """
    :param start: see ``Start``.
    :raises InputError: for a checkpoint, inputs or options that cannot be used.
    """

    tables = ("word_table", "kinds", "queries", "places", "keyframes")

    def __init__(self, start: Start) -> None:
        options: SsmVlaOptions = start.options
        self._start, self._options = start, options
        if start.lora is not None:
            raise InputError("lora: expected none, the family ssm_vla has no adapters")
        if start.is_new and CODES in start.objectives:
            raise InputError(
                f"checkpoint: expected a trained latent action model, whose codes the objective {CODES} learns, got "
                "none; stvla train --config config/train/lam.yaml makes one"
            )
        config = told_config(read_lam_config(start.base), options, is_new=False)
        check_inputs(config, start)
        self._lam = load_model(start.base, start.device)
        self._model, self._words = self._begun()
        self._model.requires_grad_(True).train()
        self._statistics = self._fitted()
        self.network, self.module = self._model, nn.ModuleDict({"model": self._model})
        self.preparation = LamPreparation(self._model.config.frame_size, start.inputs.resize)
        self._ahead = config.keyframes_s.index(self._model.config.ahead_s) + 1
        shape = self._model.config
        self.summary = f"a picture at +{shape.ahead_s:g} s is predicted, one of {shape.before_s:g} s before is seen"

    def _begun(self) -> tuple[SsmVla, WordTokenizer]:
        """The policy that the checkpoint has, or a new one on its latent action model; and its words."""
        base, options, lam = self._start.base, self._options, self._lam
        changes: dict[str, Any] = {
            name: value
            for name, value in (
                ("before_s", options.before_s),
                ("ahead_s", options.ahead_s),
                ("chunk", options.chunk_size),
            )
            if value
        }
        config = read_policy_config(base)
        if config is not None and not self._start.is_new:
            _check_same(config, changes, options.policy_size)
            return load_policy_model(base, self._start.device), WordTokenizer.load(base, config)
        try:
            size = options.policy_size or _USUAL_SIZE
            if config is None:
                config = new_policy_config(size, lam.config, lam.frame_size, **changes)
            elif options.policy_size:
                config = new_policy_config(options.policy_size, lam.config, lam.frame_size, **changes)
            else:
                config = dataclasses.replace(config, **changes)
                config.check_fits(lam.config)
        except InputError as error:
            raise InputError(f"family.options.{error}") from None
        words = WordTokenizer(make_tokenizer(config.vocabulary).encode(), config, FILE)
        return random_policy(lam.config, config, self._start.seed).to(self._start.device), words

    def _fitted(self) -> dict[str, ActionStatistics]:
        """The statistics of the data; where no actions are learnt, those that the checkpoint has."""
        start = self._start
        if ACTIONS in start.objectives:
            return {start.unnorm_key: fit_statistics(start.actions, start.episodes)}
        if not start.is_new and read_policy_config(start.base) is not None:
            return read_run_statistics(start.base)
        return {UNTRAINED_KEY: untrained_statistics()}

    def use(self, samples: Samples) -> None:
        shape, keyframes = self._model.config, self._lam.config.keyframes_s
        statistics = next(iter(self._statistics.values()))
        self._batches = PolicyBatchMaker(samples, keyframes, shape.before_s, shape.chunk, self._words, statistics)
        remarks: list[str] = []
        if {VISION, CODES} & self._start.objectives:
            remarks += check_clip_stamps(samples, keyframes, self._batches.valid)
        if CODES in self._start.objectives and "training" not in training_record(str(self._start.base)):
            remarks.append(_NEVER_TRAINED)
        self.remarks = tuple(remarks)

    def batch(self, indices: np.ndarray, augmentation: Augmentation | None = None) -> PolicyBatch:
        return self._batches.make(indices, augmentation)

    def losses(  # type: ignore[override]  # it is given the batches that it made
        self, batch: PolicyBatch, objectives: Collection[str], errors: bool = False
    ) -> Losses:
        model, options, side = self._model, self._options, self._lam.config.picture_size
        said: dict[str, torch.Tensor] = {}
        parts: dict[str, torch.Tensor] = {}
        now = batch.clip.frame(0).resized(side)
        with self._mixed():
            states = model.states(Observations(now, batch.before.resized(side), batch.words, batch.spoken))
            if VISION in objectives:
                rebuilt = model.expected(now, states)
            if CODES in objectives:
                with torch.no_grad():
                    codes = self._lam.encode(batch.clip)
                told = model.told(states)
            if ACTIONS in objectives:
                said[ACTIONS] = flow_loss(model.flow, states.actions, batch.actions, batch.valid, options.repeats)
                parts["flow"] = said[ACTIONS]
        if VISION in objectives:
            pair = now_and_then(batch.clip, self._ahead).resized(side)
            target = target_of(pair, model.lam.rebuilds_depth)
            parts["rgb"] = colour_loss(rebuilt, target, options.change_weight)
            said[VISION] = options.rgb_weight * parts["rgb"]
            if rebuilt.inverse is not None:
                parts["depth"] = depth_loss(rebuilt, target, options.change_weight)
                said[VISION] = said[VISION] + options.depth_weight * parts["depth"]
            with torch.no_grad():
                parts |= explained(rebuilt, pair, target)
        if CODES in objectives:
            parts |= codes_loss(told, codes, batch.clip.valid, self._lam.config.quantiser == "vq")
            said[CODES] = parts["codes"]
        if errors and ACTIONS in objectives:
            parts |= self._errors(batch, states)
        return Losses(said, parts)

    @torch.no_grad()
    def _errors(self, batch: PolicyBatch, states: States) -> dict[str, torch.Tensor]:
        """The distance of a sampled chunk's first action from the right one, where that is known."""
        known = batch.valid[:, 0]
        if not known.any():
            return {}
        told_states = states.actions[known].float()
        noise = torch.randn(len(told_states), self._model.config.chunk, ACTION, device=told_states.device)
        said = FlowSampler(self._model.flow, STEPS)(told_states, noise)[:, 0].cpu().numpy()
        statistics = next(iter(self._statistics.values()))
        sampled, right = (unscaled(each, statistics) for each in (said, batch.actions[known, 0].cpu().numpy()))
        distance = np.linalg.norm(sampled[:, :3] - right[:, :3], axis=1)
        return {
            "translation_error_mm": torch.tensor(1000.0 * distance.mean()),
            "gripper_accuracy": torch.tensor((sampled[:, 6] == right[:, 6]).mean()),
        }

    def _mixed(self) -> AbstractContextManager[Any]:
        precision = self._start.precision
        return torch.autocast(self._model.device.type, precision) if precision != torch.float32 else nullcontext()

    def activation_bytes(self, batch_size: int) -> int:
        """Counted: the most that there is at once of a loss and its gradients."""
        return peak_bytes(lambda: self._usual_loss(batch_size), self.module)

    def _usual_loss(self, batch_size: int) -> torch.Tensor:
        """Of clips without content."""
        lam, shape, device = self._lam.config, self._model.config, self._start.device
        keyframes, size = len(lam.keyframes_s), shape.frame_size

        def scene(frames: int) -> Scene:
            return Scene(
                torch.zeros(frames, 3, size, size), torch.ones(frames, size, size), torch.eye(3).expand(frames, 3, 3)
            )

        batch = PolicyBatch(
            Clip(scene(batch_size * (keyframes + 1)), torch.ones(batch_size, keyframes, dtype=torch.bool)),
            scene(batch_size),
            torch.zeros(batch_size, _TEXT_TOKENS, dtype=torch.int64),
            torch.ones(batch_size, _TEXT_TOKENS, dtype=torch.bool),
            torch.zeros(batch_size, shape.chunk, ACTION),
            torch.ones(batch_size, shape.chunk, dtype=torch.bool),
        )
        return sum(self.losses(batch.to(device), self._start.objectives).objectives.values())

    def result_bytes(self) -> int:
        return stored_bytes(self._lam, self._model)

    def save(self, folder: Path) -> None:
        save_model(self._lam, folder, self._model)
        (folder / FILE).write_bytes(self._words.content)
        write_statistics(folder, self._statistics)


def _check_same(config: PolicyConfig, changes: dict[str, Any], size: str) -> None:
    """:raises InputError: for another network than the checkpoint's policy is."""
    names = {"chunk": "chunk_size"}
    for name, value in changes.items():
        if (has := getattr(config, name)) != value:
            raise InputError(
                f"family.options.{names.get(name, name)}: expected {has}, which the checkpoint's policy was made with, "
                f"got {value}"
            )
    if size:
        raise InputError(f"family.options.policy_size: expected none, the checkpoint has a policy, got {size}")
