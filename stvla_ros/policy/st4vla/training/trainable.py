"""ST4VLA as the training sees it: the model before training, its losses, and the files written afterwards."""

import json
from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from stvla_ros.errors import InputError
from stvla_ros.policy.action_statistics import fit_statistics
from stvla_ros.policy.adapter_files import write_adapter
from stvla_ros.policy.families import ACTIONS, GROUNDING
from stvla_ros.policy.samples import Augmentation, Samples, SeenQuestion
from stvla_ros.policy.st4vla.adapters import AROUND, adapter_tensors, add_adapters
from stvla_ros.policy.st4vla.checkpoint import load_model, save_model, stored_bytes
from stvla_ros.policy.st4vla.config import St4VlaConfig
from stvla_ros.policy.st4vla.diffusion import STEPS, add_noise
from stvla_ros.policy.st4vla.encoder_inputs import dino_pixels, patches
from stvla_ros.policy.st4vla.model import St4Vla
from stvla_ros.policy.st4vla.normaliser import GRIPPER, unnormalize
from stvla_ros.policy.st4vla.prompt import PromptTokenizer
from stvla_ros.policy.st4vla.training.activations import activation_bytes
from stvla_ros.policy.st4vla.training.batch import (
    ActionBatch,
    BatchMaker,
    QuestionBatch,
    St4VlaPreparation,
    question_batch,
)
from stvla_ros.policy.st4vla.training.options import St4VlaOptions
from stvla_ros.policy.statistics_file import write_statistics
from stvla_ros.policy.tokenizer_files import FILE
from stvla_ros.policy.trainable import Losses, Start, Trainable

# The trained model is written in bfloat16; parts that compute in float32 stay so.
_WRITTEN = torch.bfloat16


class St4VlaTrainable(Trainable):
    """
    :param start: the training's start, see ``Start``.
    :param model: network of ``start.base``; None: it is loaded.
    :raises InputError: for a checkpoint or inputs that cannot be used.
    """

    tables = ("embed_tokens", "lm_head", "query_tokens", "positional_embedding", "position_embeddings", "uncondition")

    def __init__(self, start: Start, model: St4Vla | None = None) -> None:
        options: St4VlaOptions = start.options
        self._start, self._options = start, options
        if start.inputs.traces not in ("none", "rgb"):
            raise InputError(
                f"inputs.traces: expected none or rgb, networks of the family st4vla see no depth, got "
                f"{start.inputs.traces}"
            )
        config = told(St4VlaConfig.read(start.base), options)
        if config.views != 1:
            raise InputError(f"checkpoint {start.base}: expected one picture an observation, it has {config.views}")
        self._prompts = PromptTokenizer.load(start.base, config)
        self._statistics = fit_statistics(start.actions, start.episodes)
        # Weights below adapters may have their published precision.
        dtype = torch.float32 if start.lora is None else start.precision
        self._model = model or load_model(start.base, start.device, dtype)
        self._model.config = config
        if start.lora is None:
            self._model.requires_grad_(True)
        else:
            add_adapters(self._model, start.lora, start.seed)
        self._model.train()
        if start.device.type == "cpu" and start.precision == torch.bfloat16:
            self._model.attend_by_products()
        if start.gradient_checkpointing:
            language = self._model.qwen_vl_interface.model
            language.gradient_checkpointing_enable()
            # Nothing below the adapters is trained. Without this, no gradient would reach the layers that are computed
            # again.
            language.enable_input_require_grads()
        self.network, self.module = self._model, nn.ModuleDict({"model": self._model})
        self.preparation = St4VlaPreparation(config.picture_size, start.inputs.resize)
        self.question_size = config.picture_size
        self.summary = f"gradient of the actions into the language model x {config.gradient_decay:g}"

    def use(self, samples: Samples) -> None:
        config, options = self._model.config, self._options
        self._batches = BatchMaker(samples, self._prompts, self._statistics, config.chunk, options.past_end)

    def batch(self, indices: np.ndarray, augmentation: Augmentation | None = None) -> ActionBatch:
        return self._batches.make(indices, augmentation)

    def question_batch(self, questions: Sequence[SeenQuestion]) -> QuestionBatch:
        return question_batch(questions, self._prompts)

    def losses(  # type: ignore[override]  # it is given the batches that it made
        self, batch: ActionBatch | QuestionBatch, objectives: Collection[str], errors: bool = False
    ) -> Losses:
        return self._answers(batch) if isinstance(batch, QuestionBatch) else self._actions(batch, errors)

    def _actions(self, batch: ActionBatch, errors: bool) -> Losses:
        """The mean squared error of the estimated noise."""
        model, repeats = self._model, self._options.repeats
        seen = _floats(batch.pictures)
        pixels, grid = patches(seen)
        with self._mixed():
            condition = model.features(pixels, grid, batch.ids, batch.mask, dino_pixels(seen))
            actions = batch.normalized.repeat(repeats, 1, 1)
            noise = torch.randn_like(actions)
            times = torch.randint(STEPS, (len(actions),), device=actions.device)
            found = model.noise(add_noise(actions, noise, times), times, condition.repeat(repeats, 1, 1))
        wrong = (found.float() - noise).square().mean(dim=-1)
        counts = batch.valid.repeat(repeats, 1).float()
        loss = (wrong * counts).sum() / counts.sum()
        parts = {"noise": loss, **(self._errors(batch, condition.float()) if errors else {})}
        return Losses({ACTIONS: loss}, parts)

    def _errors(self, batch: ActionBatch, condition: torch.Tensor) -> dict[str, torch.Tensor]:
        """The distance of a sampled chunk's first action from the right one."""
        said = self._model.sample(condition, torch.randn_like(batch.normalized))[:, 0].float().cpu().numpy()
        right = batch.normalized[:, 0].cpu().numpy()
        told_actions, right_actions = (unnormalize(each, self._statistics) for each in (said, right))
        distance = np.linalg.norm(told_actions[:, :3] - right_actions[:, :3], axis=1)
        same = told_actions[:, GRIPPER] == right_actions[:, GRIPPER]
        return {
            "translation_error_mm": torch.tensor(1000.0 * distance.mean()),
            "gripper_accuracy": torch.tensor(same.mean()),
        }

    def _answers(self, batch: QuestionBatch) -> Losses:
        """The cross-entropy of the next token, over answers and their ends alone."""
        seen = _floats(batch.pictures)
        pixels, grid = patches(seen)
        with self._mixed():
            state = self._model.last_state(pixels, grid, batch.ids, batch.mask)
            # The state before each token of an answer predicts that token.
            told_tokens = batch.answered[:, 1:]
            scores = self._model.words(state[:, :-1][told_tokens])
        right = batch.ids[:, 1:][told_tokens]
        loss = F.cross_entropy(scores.float(), right)
        accuracy = (scores.argmax(dim=-1) == right).float().mean()
        return Losses({GROUNDING: loss}, {"answer": loss, "answer_tokens_right": accuracy})

    def _mixed(self) -> AbstractContextManager[Any]:
        precision = self._start.precision
        return torch.autocast(self._model.device.type, precision) if precision != torch.float32 else nullcontext()

    def activation_bytes(self, batch_size: int) -> int:
        wide = 2 if self._start.precision != torch.float32 else 4
        return activation_bytes(self._model.config, batch_size, self._options.repeats, wide)

    def result_bytes(self) -> int:
        if self._start.lora is not None:
            return sum(each.numel() * each.itemsize for each in self._model.parameters() if each.requires_grad)
        return stored_bytes(self._model, _WRITTEN)

    def save(self, folder: Path) -> None:
        if self._start.lora is None:
            save_model(self._model, folder, _WRITTEN)
            (folder / FILE).write_bytes(self._prompts.content)
        else:
            config, tensors = self._model.peft_config["default"], adapter_tensors(self._model)
            write_adapter(folder, self._start.base_name, config, tensors, AROUND)
            self._model.config.write(folder, str(self._start.precision).removeprefix("torch."))
        write_statistics(folder, {self._start.unnorm_key: self._statistics})


def told(config: St4VlaConfig, options: St4VlaOptions) -> St4VlaConfig:
    """The configuration, with the options' values in place of its own."""
    changed: dict[str, Any] = json.loads(json.dumps(config.published))
    if options.gradient_decay is not None:
        changed["framework"]["layer_qformer"]["grad_scale"] = options.gradient_decay
    if options.prompt:
        changed.setdefault("datasets", {}).setdefault("vla_data", {})["CoT_prompt"] = options.prompt
    return St4VlaConfig.from_dict(changed, "family.options")


def _floats(pictures: torch.Tensor) -> torch.Tensor:
    """(B, S, S, 3) uint8 to (B, 3, S, S) float32 from 0 to 1."""
    return pictures.permute(0, 3, 1, 2).float() / 255.0
