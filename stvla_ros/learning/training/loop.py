"""The training loop: takes batches and changes weights. It knows no files except its own state."""

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from stvla_ros.devices import memory_for, wait_for_device
from stvla_ros.errors import InputError
from stvla_ros.learning.training.asked_questions import AskedQuestions
from stvla_ros.learning.training.batches import Batches, Part, stage_at
from stvla_ros.learning.training.config import TrainingConfig
from stvla_ros.learning.training.optimizer import (
    averaged_weights,
    exchange,
    learning_rate,
    make_optimizers,
    set_learning_rate,
)
from stvla_ros.learning.training.stages import Stage
from stvla_ros.learning.training.state import MetricsLog, save_state
from stvla_ros.policy.trainable import Trainable


class Trainer:
    """
    :param trainable: network; it has the prepared frames.
    :param stages: stages of the whole run.
    :param train: indices of each stage's frames.
    :param validation: indices of the held-out frames.
    :param device: device of the network.
    :param asked: questions, if some stage has them.
    """

    def __init__(
        self,
        config: TrainingConfig,
        trainable: Trainable,
        stages: Sequence[Stage],
        train: Sequence[np.ndarray],
        validation: np.ndarray,
        device: torch.device,
        asked: AskedQuestions | None = None,
    ) -> None:
        self._config, self._trainable, self._device = config, trainable, device
        self._stages = tuple(stages)
        self._batches = Batches(config, trainable, stages, train, validation, device, asked)
        ever = set().union(*(stage.trained for stage in self._stages))
        self.trained = {name: each for name, each in trainable.module.named_parameters() if name in ever}
        self._optimizers = make_optimizers(self.trained, config.optimizer, trainable.tables)
        self._weights = nn.ParameterList(self.trained.values())
        self._average = averaged_weights(self._weights, config.optimizer.ema) if config.optimizer.ema else None
        self.step = 0
        self._stage: Stage | None = None

    @property
    def device(self) -> torch.device:
        """Device of the network."""
        return self._device

    @property
    def steps(self) -> int:
        """Number of optimiser steps in the whole run."""
        return self._stages[-1].end

    @property
    def at_stage_end(self) -> bool:
        """Whether the last step was the last one of its stage."""
        return any(self.step == stage.end for stage in self._stages)

    @property
    def stage(self) -> Stage:
        """The stage of the next step; at the end, the last stage."""
        return self._stages[stage_at(self._stages, self.step)]

    def _enter_stage(self) -> Stage:
        stage = self.stage
        if stage is not self._stage:
            for name, parameter in self.trained.items():
                parameter.requires_grad_(name in stage.trained)
            self._stage = stage
        return stage

    def state(self) -> dict[str, Any]:
        """The state that ``restore`` takes."""
        return {
            "step": self.step,
            "weights": {name: parameter.detach() for name, parameter in self.trained.items()},
            "buffers": self._buffers(),
            "optimizers": [optimizer.state_dict() for optimizer in self._optimizers],
            "average": None if self._average is None else self._average.state_dict(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """:raises InputError: when the state belongs to another model."""
        try:
            with torch.no_grad():
                for name, parameter in self.trained.items():
                    parameter.copy_(state["weights"][name])
                for name, buffer in self._buffers().items():
                    buffer.copy_(state["buffers"][name])
            if self._average is not None:
                self._average.load_state_dict(state["average"])
            for optimizer, kept in zip(self._optimizers, state["optimizers"], strict=True):
                optimizer.load_state_dict(kept)
        except (KeyError, RuntimeError, ValueError, TypeError) as error:
            raise InputError(
                f"output: expected the state of this model and optimiser, got another ({error})"
            ) from error
        self.step = state["step"]

    def _buffers(self) -> dict[str, torch.Tensor]:
        """What of the network changes without a gradient."""
        kept = self._trainable.module.state_dict(keep_vars=True)
        return {name: each for name, each in kept.items() if not isinstance(each, nn.Parameter)}

    def train_step(self) -> dict[str, float]:
        """One optimiser step. :returns: its losses, means over the accumulated batches."""
        config = self._config
        self._enter_stage()
        self._trainable.begin_step()
        # Everything random in this step follows from its number. So a run that was killed and continued gives the same
        # result as one without interruption.
        torch.manual_seed(int(np.random.SeedSequence([config.seed, self.step]).generate_state(1)[0]))
        sums: dict[str, torch.Tensor] = {}
        for part in range(config.gradient_accumulation):
            for batch in self._batches.next(self.step * config.gradient_accumulation + part):
                with memory_for(f"training on {self._device}"):
                    total, parts = self._losses(batch)
                    (total / config.gradient_accumulation).backward()
                self._add(sums, parts, 1.0 / config.gradient_accumulation)
        norm = nn.utils.clip_grad_norm_(self.trained.values(), config.optimizer.max_gradient_norm)
        # All figures at once: the host waits for the device here, asleep (with LoRA on a lean network it waits once
        # more, where the text's rows are read on the CPU).
        said = torch.stack([norm.detach().to(self._device, torch.float32), *sums.values()])
        wait_for_device(self._device)
        figures = said.tolist()
        if not np.isfinite(figures[0]):
            raise InputError(f"training step {self.step}: expected a finite gradient, got {figures[0]}; lower the rate")
        set_learning_rate(self._optimizers, self.learning_rate(self.step))
        for optimizer in self._optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        if self._average is not None:
            self._average.update_parameters(self._weights)
        self._trainable.end_step()
        self.step += 1
        return {**dict(zip(sums, figures[1:], strict=True)), "gradient_norm": figures[0]}

    def learning_rate(self, step: int) -> float:
        """The learning rate of a step, by the schedule of its stage."""
        stage = self._stages[stage_at(self._stages, step)]
        return learning_rate(self._config.optimizer, step - stage.begin, stage.end - stage.begin)

    def seconds_a_step(self) -> float:
        """The mean over the steps of all stages: for each stage measured on the second of two forward and backward
        passes that change nothing.
        """
        step, seconds = self.step, 0.0
        for stage in self._stages:
            self.step = stage.begin
            seconds += (stage.end - stage.begin) * self._seconds_of_this_stage() / self.steps
        self.step, self._stage = step, None
        for parameter in self.trained.values():
            parameter.requires_grad_(True)
        return seconds

    def _seconds_of_this_stage(self) -> float:
        accumulated = self._config.gradient_accumulation
        self._enter_stage()
        for _ in range(2):
            begun = time.perf_counter()
            for part in self._batches.make(self.step * accumulated):
                with memory_for(f"training on {self._device}"):
                    self._losses(part)[0].backward()
            wait_for_device(self._device)
            for parameter in self.trained.values():
                parameter.grad = None
        return (time.perf_counter() - begun) * accumulated

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Losses and errors on the held-out episodes, and what a probe tells, with the weights that would be saved."""
        sums: dict[str, torch.Tensor] = {}
        with self.final_weights():
            for batch in self._batches.held_out(self._stage or self.stage):
                self._add(sums, self._losses(batch, errors=True)[1], batch.share)
            probed = dict(self._trainable.probe())
        if not sums:
            return probed
        figures = torch.stack(list(sums.values()))
        wait_for_device(self._device)
        return {f"validation/{name}": value for name, value in zip(sums, figures.tolist(), strict=True)} | probed

    @contextmanager
    def final_weights(self) -> Iterator[None]:
        """Use the weights that are saved: their average, if there is one."""
        self._trainable.module.eval()
        if self._average is not None:
            exchange(self._average.module, self._weights)
        try:
            yield
        finally:
            if self._average is not None:
                exchange(self._average.module, self._weights)
            self._trainable.module.train()

    def _losses(self, part: Part, errors: bool = False) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        losses = self._trainable.losses(part.batch, part.objectives.keys(), errors)
        total = sum(part.objectives[name] * loss for name, loss in losses.objectives.items())
        return total, {**losses.parts, "loss": total}

    def _add(self, sums: dict[str, torch.Tensor], parts: Mapping[str, torch.Tensor], weight: float) -> None:
        """Add figures to those of the same name. The loss is the sum over all passes."""
        for name, value in parts.items():
            share = value.detach().to(self._device, torch.float32) * weight
            sums[name] = sums[name] + share if name in sums else share


def run_loop(
    trainer: Trainer,
    config: TrainingConfig,
    run_folder: Path,
    settings: dict[str, Any],
    state: Mapping[str, Any] | None = None,
) -> None:
    """Train to the end from the present step, with a progress bar, a log, and states to continue from.

    :param settings: settings that must be the same when the run continues.
    :param state: state that the trainer was restored from; it also has the sums for the next entry of the log.
    """
    from tqdm import tqdm

    steps = trainer.steps
    log = MetricsLog(run_folder, trainer.step)
    sums: dict[str, float] = dict(state["sums"]) if state else {}
    counted = state["counted"] if state else 0
    try:
        with tqdm(total=steps, initial=trainer.step, desc="train", unit="step", file=sys.stderr, smoothing=0.02) as bar:
            if trainer.step == 0:
                # What the checkpoint does that is trained on: what all later figures are held to.
                bar.set_postfix_str("validation before the first step")
                if figures := trainer.validate():
                    log.write(-1, figures)
            while trainer.step < steps:
                values = trainer.train_step()
                counted += 1
                for name, value in values.items():
                    sums[name] = sums.get(name, 0.0) + value
                bar.update()
                # A mean over two stages' figures would be meaningless.
                if trainer.step % config.log_every == 0 or trainer.at_stage_end:
                    means = {name: value / counted for name, value in sums.items()}
                    means["learning_rate"] = trainer.learning_rate(trainer.step - 1)
                    log.write(trainer.step - 1, means)
                    bar.set_postfix(loss=f"{means['loss']:.3f}")
                    sums, counted = {}, 0
                if trainer.step % config.validate_every == 0 or trainer.at_stage_end:
                    log.write(trainer.step - 1, trainer.validate())
                if trainer.step % config.save_every == 0 or trainer.step == steps:
                    save_state(run_folder, {**trainer.state(), "settings": settings, "sums": sums, "counted": counted})
    finally:
        log.close()
