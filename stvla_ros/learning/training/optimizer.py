"""Optimisers, their schedule, and the averaged weights."""

import math
from collections.abc import Collection, Iterable, Mapping

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from stvla_ros.learning.training.config import OptimizerConfig

# Controls how fast the average forgets its first, useless weights.
_EMA_WARMUP = 10


def make_optimizers(
    named: Mapping[str, nn.Parameter], config: OptimizerConfig, tables: Collection[str] = ()
) -> list[torch.optim.Optimizer]:
    """
    :param named: parameters that are trained, by name.
    :param tables: parts of the names of matrices that are tables, and no linear maps. Muon leaves these to AdamW: it is
        meant for the layers' matrices.
    """
    matrices = {
        name: parameter
        for name, parameter in named.items()
        if config.name == "muon" and parameter.ndim == 2 and not any(table in name for table in tables)
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
            torch.optim.AdamW(
                rest, lr=config.learning_rate, weight_decay=config.weight_decay, betas=(0.9, 0.95), fused=True
            )
        )
    return optimizers


def learning_rate(config: OptimizerConfig, step: int, steps: int) -> float:
    """:param step: number of the step; 0 is the first of ``steps``."""
    if step < config.warmup_steps:
        return config.learning_rate * (step + 1) / config.warmup_steps
    if config.schedule == "constant":
        return config.learning_rate
    done = (step - config.warmup_steps) / max(steps - config.warmup_steps, 1)
    return config.learning_rate * 0.5 * (1.0 + math.cos(math.pi * done))


def averaged_weights(trained: nn.Module, decay: float) -> AveragedModel:
    """Exponential moving average of the weights, from their present values on. ``update_parameters`` adds the weights
    after a step.

    :param trained: module with exactly the trained parameters: it is copied.
    :param decay: share of the old average that remains after a step; smaller in the first steps, whose weights are
        useless.
    """

    @torch.no_grad()
    def average(values: list[torch.Tensor], weights: list[torch.Tensor], taken: torch.Tensor) -> None:
        # The first weights in the average are those before the first step.
        step = int(taken) - 1
        torch._foreach_lerp_(values, weights, 1.0 - min(decay, (1 + step) / (_EMA_WARMUP + step)))

    averaged = AveragedModel(trained, multi_avg_fn=average)
    averaged.update_parameters(trained)
    return averaged


@torch.no_grad()
def exchange(some: nn.Module, other: nn.Module) -> None:
    """Exchange the weights of two modules of the same structure; call it again to change back."""
    for one, another in zip(some.parameters(), other.parameters(), strict=True):
        kept = one.detach().clone()
        one.copy_(another)
        another.copy_(kept)


def set_learning_rate(optimizers: Iterable[torch.optim.Optimizer], rate: float) -> None:
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = rate
