"""What changes the weights: optimisers, their schedule, and the averaged weights."""

import math
from collections.abc import Collection, Iterable, Mapping

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from stvla_ros.learning.training.config import OptimizerConfig

# How fast the average forgets its first, useless weights.
_EMA_WARMUP = 10


def make_optimizers(
    named: Mapping[str, nn.Parameter], config: OptimizerConfig, tables: Collection[str] = ()
) -> list[torch.optim.Optimizer]:
    """
    :param named: what is trained.
    :param tables: parts of the names of matrices that map nothing. Their rows are not directions that a matrix maps to
        each other, and Muon is for the layers' matrices only.
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
    """:param step: 0 is the first of ``steps``."""
    if step < config.warmup_steps:
        return config.learning_rate * (step + 1) / config.warmup_steps
    if config.schedule == "constant":
        return config.learning_rate
    done = (step - config.warmup_steps) / max(steps - config.warmup_steps, 1)
    return config.learning_rate * 0.5 * (1.0 + math.cos(math.pi * done))


def averaged_weights(trained: nn.Module, decay: float) -> AveragedModel:
    """Exponential moving average, from the weights as they are now. ``update_parameters`` adds those of one step.

    :param trained: what is trained and nothing else: it is copied.
    :param decay: of an old value, a step; less in the first steps, whose weights are useless.
    """

    @torch.no_grad()
    def average(values: list[torch.Tensor], weights: list[torch.Tensor], taken: torch.Tensor) -> None:
        # The weights before the first step are the first that were taken.
        step = int(taken) - 1
        torch._foreach_lerp_(values, weights, 1.0 - min(decay, (1 + step) / (_EMA_WARMUP + step)))

    averaged = AveragedModel(trained, multi_avg_fn=average)
    averaged.update_parameters(trained)
    return averaged


@torch.no_grad()
def exchange(some: nn.Module, other: nn.Module) -> None:
    """Exchange the weights of two modules of one form; again to change back."""
    for one, another in zip(some.parameters(), other.parameters(), strict=True):
        kept = one.detach().clone()
        one.copy_(another)
        another.copy_(kept)


def set_learning_rate(optimizers: Iterable[torch.optim.Optimizer], rate: float) -> None:
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = rate
