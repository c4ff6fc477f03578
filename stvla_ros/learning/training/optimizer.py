"""Optimisers, their schedule, and the averaged weights."""

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel
from torch.overrides import TorchFunctionMode

from stvla_ros.devices import computes_bfloat16
from stvla_ros.learning.training.config_sections import OptimizerConfig
from stvla_ros.learning.training.stages import parameters_of

# Controls how fast the average forgets its first, useless weights.
_EMA_WARMUP = 10
SHARE = "rate_share"
"""Key of a group of parameters: its learning rate as a share of ``OptimizerConfig.learning_rate``."""


class Muon(torch.optim.Muon):
    """torch's, which orthogonalises in bfloat16 on every device. Where that is not computed as such it is done in
    float32: of a training step of the small network, with AVX2 alone, it was 8.0 of 9.3 s, and then 0.4.
    """

    def step(self, closure: Any = None) -> Any:
        devices = {parameter.device for group in self.param_groups for parameter in group["params"]}
        if all(computes_bfloat16(device) for device in devices):
            return super().step(closure)
        with _Float32ForBfloat16():
            return super().step(closure)


class _Float32ForBfloat16(TorchFunctionMode):
    """``Tensor.bfloat16`` gives a copy in float32."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Sequence[type], args: Any = (), kwargs: Any = None
    ) -> Any:
        if func is torch.Tensor.bfloat16:
            return args[0].to(torch.float32, copy=True)  # torch's code works in place on it
        return func(*args, **(kwargs or {}))


def make_optimizers(
    named: Mapping[str, nn.Parameter], config: OptimizerConfig, tables: Collection[str] = ()
) -> list[torch.optim.Optimizer]:
    """
    :param named: parameters that are trained, by name.
    :param config: settings of the optimiser.
    :param tables: parts of the names of matrices that are tables, and no linear maps. Muon leaves these to AdamW: it is
        meant for the layers' matrices.
    :raises InputError: for a part with a learning rate that no parameter belongs to.
    """
    matrices = {
        name
        for name, parameter in named.items()
        if config.name == "muon" and parameter.ndim == 2 and not any(table in name for table in tables)
    }
    shares = rate_shares(named, config)
    optimizers: list[torch.optim.Optimizer] = []
    if matrices:
        # Steps as large as AdamW's (arXiv 2502.16982), so that one learning rate serves both.
        groups = _groups({name: named[name] for name in named if name in matrices}, shares, config)
        optimizers.append(Muon(groups, weight_decay=config.weight_decay, adjust_lr_fn="match_rms_adamw"))
    if len(matrices) < len(named):
        groups = _groups({name: named[name] for name in named if name not in matrices}, shares, config)
        optimizers.append(torch.optim.AdamW(groups, weight_decay=config.weight_decay, betas=(0.9, 0.95), fused=True))
    return optimizers


def rate_shares(names: Collection[str], config: OptimizerConfig) -> dict[str, float]:
    """Each parameter's learning rate as a share of ``config.learning_rate``.

    :param names: names of the parameters that are trained.
    :param config: settings of the optimiser.
    :raises InputError: for a part with a learning rate that no parameter belongs to.
    """
    shares = dict.fromkeys(names, 1.0)
    # The longest name last: it counts.
    for part in sorted(config.learning_rates, key=len):
        for name in parameters_of(part, names, "optimizer.learning_rates"):
            shares[name] = config.learning_rates[part] / config.learning_rate
    return shares


def _groups(
    named: Mapping[str, nn.Parameter], shares: Mapping[str, float], config: OptimizerConfig
) -> list[dict[str, Any]]:
    """By learning rate, the largest first."""
    by_share: dict[float, list[nn.Parameter]] = {}
    for name, parameter in named.items():
        by_share.setdefault(shares[name], []).append(parameter)
    return [
        {"params": parameters, "lr": share * config.learning_rate, SHARE: share}
        for share, parameters in sorted(by_share.items(), reverse=True)
    ]


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
            # States from before there were shares have none.
            group["lr"] = rate * group.get(SHARE, 1.0)
