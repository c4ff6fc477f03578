"""Trained adapters of the language model (policy/adapter_files.py), and the parts around it, which are trained in full.

adapter_config.json, adapter_model.safetensors    as of any family; queries, diffusion transformer and DINOv2 whole
config.json                                       the base's, with what the training was told otherwise
dataset_statistics.json                           of the training set
"""

import re

import torch
from torch import nn

from stvla_ros.policy.adapter_files import Adapter, merge_adapter_weights
from stvla_ros.policy.lora import LoraConfig, put_adapters
from stvla_ros.policy.st4vla.model import St4Vla

AROUND = ("layer_qformer", "action_model", "dino_encoder", "dino_pro")
"""Parts that are trained in full beside adapters: a fortieth of the published model."""
_LANGUAGE = "qwen_vl_interface."


def add_adapters(model: St4Vla, config: LoraConfig, seed: int = 0) -> St4Vla:
    """Put trainable adapters on every linear layer of the vision-language model but its head, in place.

    :param seed: seed of the adapters' first weights.
    :returns: ``model``; the vision-language model's own weights are frozen, the parts around it are trained in full.
    :raises InputError: for a model that has adapters, or a configuration that peft refuses.
    """
    put_adapters(model, config, "|".join(map(re.escape, _layers(model))), seed)
    for name in AROUND:
        model.get_submodule(name).requires_grad_(True).float()
    return model


def adapter_tensors(model: St4Vla) -> dict[str, torch.Tensor]:
    """The trained tensors by published name."""
    import peft  # only training needs it; it takes a second

    return peft.get_peft_model_state_dict(model, save_embedding_layers=False) | _around(model)


def merge_into(model: St4Vla, adapter: Adapter) -> None:
    """Add an adapter to the weights of its base, in place; see ``merge_adapter_weights``."""
    around = {name: tensor.detach().clone() for name, tensor in _around(model).items()}
    merge_adapter_weights(adapter, _layers(model), around, around, model.device)
    # One published tensor of DINOv2 holds several of ours.
    for part in AROUND:
        own = {name.removeprefix(f"{part}."): each for name, each in around.items() if name.startswith(f"{part}.")}
        model.get_submodule(part).load_state_dict(own)


def _layers(model: St4Vla) -> dict[str, nn.Linear]:
    """The adapted layers by name."""
    return {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and name.startswith(_LANGUAGE) and not name.endswith("lm_head")
    }


def _around(model: St4Vla) -> dict[str, torch.Tensor]:
    return {name: each for name, each in model.state_dict().items() if name.split(".")[0] in AROUND}
