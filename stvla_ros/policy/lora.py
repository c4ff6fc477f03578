"""Low-rank adapters (LoRA, arXiv 2106.09685): W stays as it is; W + alpha/r B A is used, with A (r, in) and B (out, r)
trained. A begins as a Gaussian of standard deviation 1/r, B as zero.
"""

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from stvla_ros.errors import InputError

if TYPE_CHECKING:
    from torch import nn

    Network = TypeVar("Network", bound=nn.Module)

_ADAPTER = "default"


@dataclass(frozen=True)
class LoraConfig:
    """Low-rank adapters (peft) instead of all weights.

    :param rank: rank r of the factors.
    :param alpha: scale; the update is multiplied by alpha / r.
    :param dropout: dropout on the adapters' inputs, a share.
    :param merge: whether a checkpoint with the adapters merged into the weights is written, too.
    """

    rank: int = 32
    alpha: float = 32.0
    dropout: float = 0.0
    merge: bool = False


def put_adapters(model: "Network", config: LoraConfig, layers: str, seed: int = 0) -> "Network":
    """Put trainable adapters into a network, in place; at first they change nothing, because B is zero.

    The adapters are float32 whatever the type of the weights beside them.

    :param layers: regular expression for the full names of the linear layers that get an adapter.
    :param seed: seed of A: the same seed gives the same numbers on every device.
    :returns: ``model``; all but the adapters is frozen.
    :raises InputError: for a network that has adapters, or a configuration that peft refuses.
    """
    import peft  # only training needs it; it takes a second
    import torch

    if hasattr(model, "peft_config"):
        raise InputError("lora: expected a model without adapters, it has some already")
    if not (0 < config.alpha < float("inf") and 0 <= config.dropout < 1):
        raise InputError(f"lora: expected alpha above 0 and dropout 0 to below 1, got {config.alpha}, {config.dropout}")
    model.requires_grad_(False)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # peft draws A on the CPU
        peft.inject_adapter_in_model(
            peft.LoraConfig(
                r=config.rank,
                lora_alpha=config.alpha,
                lora_dropout=config.dropout,
                target_modules=layers,
                init_lora_weights="gaussian",
            ),
            model,
            _ADAPTER,
        )
    # peft gives them the type of the weights. In bfloat16, the steps of a small learning rate would be lost to
    # rounding.
    for parameter in trainable_parameters(model).values():
        parameter.data = parameter.data.float()
    return model


def trainable_parameters(model: "nn.Module") -> "dict[str, nn.Parameter]":
    """The parameters that gradients are computed for, by name."""
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


def count_by_part(model: "nn.Module") -> dict[str, tuple[int, int]]:
    """Trainable numbers and all numbers, adapters included, by the model's parts (``vision_tower``, …)."""
    trained: Counter[str] = Counter()
    whole: Counter[str] = Counter()
    for name, parameter in model.named_parameters():
        part = name.split(".")[0]
        whole[part] += parameter.numel()
        trained[part] += parameter.numel() * parameter.requires_grad
    return {part: (trained[part], whole[part]) for part in whole}
