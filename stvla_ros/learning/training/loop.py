"""The training loop: batches in, weights changed. Knows nothing of files but its own state."""

import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from stvla_ros.devices import memory_for
from stvla_ros.errors import InputError
from stvla_ros.learning.training.config import TrainingConfig
from stvla_ros.learning.training.optimizer import (
    averaged_weights,
    exchange,
    learning_rate,
    make_optimizers,
    set_learning_rate,
)
from stvla_ros.learning.training.order import batch_indices
from stvla_ros.learning.training.state import MetricsLog, save_state
from stvla_ros.policy.action_statistics import ActionStatistics
from stvla_ros.policy.spatialvla.actions.action_tokenizer import ActionTokenizer
from stvla_ros.policy.spatialvla.model import SpatialVla
from stvla_ros.policy.spatialvla.training.batch import Batch, BatchMaker
from stvla_ros.policy.spatialvla.training.forward import legal_scores, run
from stvla_ros.policy.spatialvla.training.scene_loss import SceneHeads
from stvla_ros.policy.spatialvla.training.token_loss import ChunkLoss

_VALIDATION_SAMPLES = 256
_VALIDATION_BATCH = 32


class Trainer:
    """
    :param model: with ``requires_grad`` set on what is trained.
    :param batches: of the prepared frames.
    :param train, validation: indices of frames.
    :param steps: optimiser steps of the whole run.
    """

    def __init__(
        self,
        config: TrainingConfig,
        model: SpatialVla,
        batches: BatchMaker,
        train: np.ndarray,
        validation: np.ndarray,
        tokenizer: ActionTokenizer,
        statistics: ActionStatistics,
        steps: int,
        precision: torch.dtype,
    ) -> None:
        self._config, self._model, self._batches = config, model, batches
        self._train, self._steps, self._precision = train, steps, precision
        random = np.random.default_rng(config.seed)
        self._validation = np.sort(random.permutation(validation)[:_VALIDATION_SAMPLES])
        self._tokenizer, self._statistics = tokenizer, statistics
        self._loss = ChunkLoss(tokenizer, config.loss, model.device)
        self._heads: SceneHeads | None = None
        modules: dict[str, nn.Module] = {"model": model}
        if config.loss.scene_weight:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(config.seed)
                self._heads = SceneHeads(model.config.text.hidden_size, model.config.image_size).to(model.device)
            modules["heads"] = self._heads
        self.trained = {
            f"{part}.{name}": parameter
            for part, module in modules.items()
            for name, parameter in module.named_parameters()
            if parameter.requires_grad
        }
        self._optimizers = make_optimizers(self.trained, config.optimizer)
        self._weights = nn.ParameterList(self.trained.values())
        self._average = averaged_weights(self._weights, config.optimizer.ema) if config.optimizer.ema else None
        self._reader = ThreadPoolExecutor(1)
        self._coming: tuple[int, Future[Batch]] | None = None
        self.step = 0

    def state(self) -> dict[str, Any]:
        """What ``restore`` takes."""
        return {
            "step": self.step,
            "weights": {name: parameter.detach() for name, parameter in self.trained.items()},
            "optimizers": [optimizer.state_dict() for optimizer in self._optimizers],
            "average": None if self._average is None else self._average.state_dict(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """:raises InputError: when the state is of another model."""
        try:
            with torch.no_grad():
                for name, parameter in self.trained.items():
                    parameter.copy_(state["weights"][name])
            if self._average is not None:
                self._average.load_state_dict(state["average"])
            for optimizer, kept in zip(self._optimizers, state["optimizers"], strict=True):
                optimizer.load_state_dict(kept)
        except (KeyError, RuntimeError, ValueError, TypeError) as error:
            raise InputError(
                f"output: expected the state of this model and optimiser, got another ({error})"
            ) from error
        self.step = state["step"]

    def train_step(self) -> dict[str, float]:
        """One optimiser step. :returns: its losses, means over the accumulated batches."""
        config = self._config
        # Everything random in this step follows from its number: a run that goes on is the run that was not killed.
        torch.manual_seed(int(np.random.SeedSequence([config.seed, self.step]).generate_state(1)[0]))
        sums: dict[str, float] = {}
        for part in range(config.gradient_accumulation):
            batch = self._next_batch(self.step * config.gradient_accumulation + part).to(self._model.device)
            with memory_for(f"training on {self._model.device}"):
                total, parts = self._losses(batch)
                (total / config.gradient_accumulation).backward()
            for name, value in parts.items():
                sums[name] = sums.get(name, 0.0) + float(value.detach()) / config.gradient_accumulation
        norm = nn.utils.clip_grad_norm_(self.trained.values(), config.optimizer.max_gradient_norm)
        if not torch.isfinite(norm):
            raise InputError(
                f"training step {self.step}: expected a finite gradient, got {float(norm)}; lower the rate"
            )
        set_learning_rate(self._optimizers, learning_rate(config.optimizer, self.step, self._steps))
        for optimizer in self._optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        if self._average is not None:
            self._average.update_parameters(self._weights)
        self.step += 1
        return {**sums, "gradient_norm": float(norm)}

    def _next_batch(self, number: int) -> Batch:
        """Batch ``number``, and begin to read the one after it from the disk."""
        if self._coming is None or self._coming[0] != number:
            self._coming = number, self._reader.submit(self._make_batch, number)
        batch = self._coming[1].result()
        self._coming = number + 1, self._reader.submit(self._make_batch, number + 1)
        return batch

    def _make_batch(self, number: int) -> Batch:
        config = self._config
        indices = batch_indices(config.seed, number, config.batch_size, self._train)
        entropy = int(np.random.SeedSequence([config.seed, number]).generate_state(1)[0])
        return self._batches.make(indices, config.augmentation, entropy)

    def seconds_a_step(self) -> float:
        """Measured on the second of two forward and backward passes that change nothing."""
        for _ in range(2):
            begun = time.perf_counter()
            batch = self._make_batch(0).to(self._model.device)
            with memory_for(f"training on {self._model.device}"):
                self._losses(batch)[0].backward()
            if self._model.device.type == "cuda":
                torch.cuda.synchronize()
            for parameter in self.trained.values():
                parameter.grad = None
        return (time.perf_counter() - begun) * self._config.gradient_accumulation

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Losses and errors on the held-out episodes with the weights that would be saved."""
        sums: dict[str, float] = {}
        with self.final_weights():
            for first in range(0, len(self._validation), _VALIDATION_BATCH):
                indices = self._validation[first : first + _VALIDATION_BATCH]
                batch = self._batches.make(indices).to(self._model.device)
                _, parts = self._losses(batch, errors=True)
                for name, value in parts.items():
                    sums[name] = sums.get(name, 0.0) + float(value) * len(indices) / len(self._validation)
        return {f"validation/{name}": value for name, value in sums.items()}

    @contextmanager
    def final_weights(self) -> Iterator[None]:
        """The weights that are saved: their average, where there is one."""
        self._model.eval()
        if self._average is not None:
            exchange(self._average.module, self._weights)
        try:
            yield
        finally:
            if self._average is not None:
                exchange(self._average.module, self._weights)
            self._model.train()

    def _losses(self, batch: Batch, errors: bool = False) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        model, config = self._model, self._config
        mixed = (
            torch.autocast(model.device.type, self._precision) if self._precision != torch.float32 else nullcontext()
        )
        points = model.points(batch.depth, batch.intrinsics)
        with mixed:
            hidden = run(model, batch.pixels, points, batch.ids, batch.lengths, batch.offsets.flatten(1))
            scores = legal_scores(model, hidden.answers, self._tokenizer.legal_ranges)
        losses = self._loss(tuple(each.float() for each in scores), batch.offsets, batch.normalized, batch.valid)
        total, parts = losses.total, dict(losses.parts)
        if self._heads is not None:
            scene = self._heads(hidden, points, batch.intrinsics, batch.scene_points)
            total = total + config.loss.scene_weight * sum(scene.values())
            parts |= scene
        parts["loss"] = total
        if errors:
            parts |= self._errors(scores, batch)
        return total, parts

    def _errors(self, scores: tuple[torch.Tensor, ...], batch: Batch) -> dict[str, torch.Tensor]:
        """How far the best first action is from the right one, in units that people think in."""
        ranges = self._tokenizer.legal_ranges
        best = torch.stack([each[:, 0].argmax(dim=-1) + first for each, (first, _) in zip(scores, ranges)], dim=-1)
        said = self._statistics.unnormalize(self._tokenizer.decode(best.cpu().numpy()))
        right = self._statistics.unnormalize(batch.normalized[:, 0].double().cpu().numpy())
        distance = np.linalg.norm(said[:, :3] - right[:, :3], axis=1)
        return {
            "translation_error_mm": torch.tensor(1000.0 * distance.mean()),
            "gripper_accuracy": torch.tensor(np.mean((said[:, 6] > 0.5) == (right[:, 6] > 0.5))),
        }


def train(trainer: Trainer, config: TrainingConfig, run_folder: Path, settings: dict[str, Any], steps: int) -> None:
    """Run to the end from where the trainer is, with a bar, a log and states to go on from."""
    from tqdm import tqdm

    log = MetricsLog(run_folder, trainer.step)
    sums: dict[str, float] = {}
    counted = 0
    try:
        with tqdm(total=steps, initial=trainer.step, desc="train", unit="step", file=sys.stderr, smoothing=0.02) as bar:
            while trainer.step < steps:
                values = trainer.train_step()
                counted += 1
                for name, value in values.items():
                    sums[name] = sums.get(name, 0.0) + value
                bar.update()
                if trainer.step % config.log_every == 0 or trainer.step == steps:
                    means = {name: value / counted for name, value in sums.items()}
                    means["learning_rate"] = learning_rate(config.optimizer, trainer.step - 1, steps)
                    log.write(trainer.step - 1, means)
                    bar.set_postfix(loss=f"{means['loss']:.3f}")
                    sums, counted = {}, 0
                if trainer.step % config.validate_every == 0 or trainer.step == steps:
                    log.write(trainer.step - 1, trainer.validate())
                if trainer.step % config.save_every == 0 or trainer.step == steps:
                    save_state(run_folder, {**trainer.state(), "settings": settings, "sums": sums, "counted": counted})
    finally:
        log.close()
