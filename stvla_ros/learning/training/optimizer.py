"""What changes the weights: optimisers, their schedule, and the averaged weights."""

import math
from collections.abc import Iterable, Mapping

import torch
from torch import nn

from stvla_ros.learning.training.config import OptimizerConfig

# Rows of tables are not directions that a matrix maps to each other: Muon is for the layers' matrices only.
_TABLES = ("embed_tokens", "spatial_embed_tokens", "lm_head", "position_embedding.weight", "pointing", "relations")
# How fast the average forgets its first, useless weights.
_EMA_WARMUP = 10


def make_optimizers(named: Mapping[str, nn.Parameter], config: OptimizerConfig) -> list[torch.optim.Optimizer]:
    """:param named: what is trained."""
    matrices = {
        name: parameter
        for name, parameter in named.items()
        if config.name == "muon" and parameter.ndim == 2 and not any(table in name for table in _TABLES)
    }
    rest = [parameter for name, parameter in named.items() if name not in matrices]
    optimizers: list[torch.optim.Optimizer] = []
    if matrices:
        optimizers.append(
            # Steps as large as AdamW's (arXiv 2502.16982), so that one learning rate serves both.
            torch.optim.Muon(
                list(matrices.values()),
                lr=config.learning_rate,
                weight_decay=config.weight_decay,
                adjust_lr_fn="match_rms_adamw",
            )
        )
    if rest:
        optimizers.append(
            torch.optim.AdamW(rest, lr=config.learning_rate, weight_decay=config.weight_decay, betas=(0.9, 0.95))
        )
    return optimizers


def learning_rate(config: OptimizerConfig, step: int, steps: int) -> float:
    """:param step: 0 is the first of ``steps``."""
    if step < config.warmup_steps:
        return config.learning_rate * (step + 1) / config.warmup_steps
    if config.schedule == "constant":
        return config.learning_rate
    done = (step - config.warmup_steps) / max(steps - config.warmup_steps, 1)
    return config.learning_rate * 0.5 * (1.0 + math.cos(math.pi * done))


class AveragedWeights:
    """Exponential moving average of what is trained.

    :param named: what is trained.
    :param decay: of an old value, a step.
    """

    def __init__(self, named: Mapping[str, nn.Parameter], decay: float) -> None:
        self._named, self._decay = dict(named), decay
        self.values = {name: parameter.detach().clone() for name, parameter in named.items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        decay = min(self._decay, (1 + step) / (_EMA_WARMUP + step))
        for name, parameter in self._named.items():
            self.values[name].lerp_(parameter.detach(), 1.0 - decay)

    @torch.no_grad()
    def swap(self) -> None:
        """Exchange the average and the weights; again to change back."""
        for name, parameter in self._named.items():
            kept = parameter.detach().clone()
            parameter.copy_(self.values[name])
            self.values[name].copy_(kept)


def set_learning_rate(optimizers: Iterable[torch.optim.Optimizer], rate: float) -> None:
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = rate
