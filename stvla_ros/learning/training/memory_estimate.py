"""Memory that a training needs on its device, before it runs."""

from collections.abc import Collection
from dataclasses import dataclass

import torch
from torch import nn

from stvla_ros.learning.training.config import TrainingConfig
from stvla_ros.learning.training.config_sections import OptimizerConfig
from stvla_ros.learning.training.optimizer import make_optimizers
from stvla_ros.policy.lora import trainable_parameters
from stvla_ros.policy.trainable import Trainable


@dataclass(frozen=True)
class MemoryEstimate:
    """Bytes of memory on the training's device."""

    weights: int
    gradients: int
    optimizer: int
    average: int
    activations: int

    @property
    def total(self) -> int:
        return self.weights + self.gradients + self.optimizer + self.average + self.activations


def estimate_memory(trainable: Trainable, config: TrainingConfig) -> MemoryEstimate:
    """The memory of weights, gradients and the optimiser's state, counted here, and of the passes, estimated by the
    family.
    """
    trained = trainable_parameters(trainable.module)
    size = sum(parameter.numel() * parameter.itemsize for parameter in trained.values())
    weights = sum(tensor.numel() * tensor.itemsize for tensor in trainable.module.state_dict().values())
    return MemoryEstimate(
        weights=weights,
        gradients=size,
        optimizer=optimizer_bytes(trained, config.optimizer, trainable.tables),
        average=size if config.optimizer.ema else 0,
        activations=trainable.activation_bytes(config.batch_size),
    )


def optimizer_bytes(trained: dict[str, nn.Parameter], config: OptimizerConfig, tables: Collection[str] = ()) -> int:
    """AdamW keeps two numbers for each trained one (mean and square of its gradient), Muon keeps one."""
    total = 0
    for optimizer in make_optimizers(trained, config, tables):
        kept = 1 if isinstance(optimizer, torch.optim.Muon) else 2
        total += kept * sum(p.numel() * p.itemsize for group in optimizer.param_groups for p in group["params"])
    return total
