"""Trained adapters in a folder of their own, in peft's format: only what was learnt, without the gigabytes of the base.

    adapter_config.json          peft's; base_model_name_or_path names the checkpoint that it belongs to
    adapter_model.safetensors    A and B of every adapted layer, the action tokens' rows where they changed, and the
                                 heads for traces and for an earlier picture where they were trained
    processor_config.json        action bins and statistics of the training set

Tensors have the published modules' names, so adapters made by SpatialVLA's own fine-tuning load here, and ours there.
They are placed as in this model's published recipe (github SpatialVLA/SpatialVLA, train/spatialvla_finetune.py, target
"linear"): on every linear layer of language model, picture encoder, projector and Ego3D head, r = alpha = 32, no
dropout; its targets "linear+emb" and "linear+emb+h", with the action embeddings and the head, are read, too. With
action bins that were fitted anew, the action embeddings are trained in full as well.
To act, an adapter is merged into the weights in memory: W + alpha/r B A (arXiv 2106.09685). So decoding knows nothing
of adapters.
"""

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from stvla_ros.errors import InputError
from stvla_ros.policy.adapter_files import Adapter, merge_adapter_weights, write_adapter
from stvla_ros.policy.checkpoint_places import find_base
from stvla_ros.policy.lora import LoraConfig, put_adapters
from stvla_ros.policy.spatialvla.checkpoint import published_name
from stvla_ros.policy.spatialvla.config import HEADS
from stvla_ros.policy.spatialvla.model import SpatialVla
from stvla_ros.policy.spatialvla.sizes import PROCESSOR_CONFIG
from stvla_ros.policy.stored_weights import read_rows

# Full names, anchored by their parts: ZoeDepth's layers have the same last names. The pattern also fits the published
# module names (vision_tower.vision_model.…), so that the published code can read an adapter_config.json with it.
TARGET_MODULES = (
    r"(language_model\.model|vision_tower|multi_modal_projector|position_embedding_3d)\.(.+\.)?"
    r"([qkvo]_proj|out_proj|gate_proj|up_proj|down_proj|fc1|fc2|linear|position_embedding_head\.[03])"
)

# Trained rows of some tokens, saved in place of the whole matrix (peft calls this so although they are no differences).
_HEAD_ROWS = "language_model.lm_head.token_adapter.trainable_tokens_delta"
_EMBEDDINGS, _HEAD = "spatial_embed_tokens.weight", "language_model.lm_head.weight"


def add_adapters(
    model: SpatialVla,
    config: LoraConfig,
    seed: int = 0,
    train_action_embeddings: bool = False,
    train_heads: Collection[str] = (),
) -> SpatialVla:
    """Put trainable adapters into the model, in place, see ``lora.put_adapters``.

    :param train_action_embeddings: whether ``spatial_embed_tokens`` is trained in full, too; meant for refitted action
        bins.
    :param train_heads: names of those ``config.HEADS`` of the model that are trained in full, too.
    :returns: ``model``; all but the adapters (and what is trained in full) is frozen.
    :raises InputError: for a model that has adapters, or a configuration that peft refuses.
    """
    put_adapters(model, config, TARGET_MODULES, seed)
    for name in train_heads:
        model.get_submodule(name).requires_grad_(True).float()
    if train_action_embeddings:
        embeddings = model.spatial_embed_tokens.requires_grad_(True)
        embeddings.weight.data = embeddings.weight.data.float()
    return model


def save_adapter(model: SpatialVla, directory: Path, base: str | Path, processor: Mapping[str, Any]) -> None:
    """Write a model's adapters (``policy/lora.py``). An earlier save is overwritten.

    The action embeddings and the head's rows for action tokens are written in full when they are no longer the base's.

    :param base: checkpoint that the model was made from, a folder or a hub id.
    :param processor: content of processor_config.json, with the bins and statistics that the adapters were trained
        with.
    :raises InputError: when ``base`` is no whole checkpoint, or the disk does not take it.
    """
    import peft  # only training needs it; it takes a second

    found = find_base(str(base))
    trained = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    whole = [name for name in trained if ".lora_" not in name]
    of_heads = [name for name in whole if name in model.head_parameters]
    lost = [name for name in whole if name != _EMBEDDINGS and name not in of_heads]
    if lost:
        raise ValueError(
            f"expected nothing but adapters, action embeddings and {', '.join(HEADS)} to be trained, got "
            f"{', '.join(lost)}"
        )
    tensors = peft.get_peft_model_state_dict(model, save_embedding_layers=False)
    begin, count = model.config.action_token_begin, model.config.num_action_tokens
    embeddings, head = model.spatial_embed_tokens.weight, model.head(begin, begin + count)
    in_full = []
    if _changed(embeddings, read_rows(found, _EMBEDDINGS, 0, count)):
        in_full.append(_EMBEDDINGS.removesuffix(".weight"))
        tensors[_EMBEDDINGS] = embeddings
    in_full += sorted({name.split(".")[0] for name in of_heads})
    tensors |= {name: model.get_parameter(name) for name in of_heads}
    tokens = {}
    if _changed(head, read_rows(found, _HEAD, begin, begin + count)):
        tokens["lm_head"] = list(range(begin, begin + count))
        tensors[_HEAD_ROWS] = head
    named = {published_name(name): tensor for name, tensor in tensors.items()}
    write_adapter(directory, base, model.peft_config["default"], named, in_full, tokens)
    try:
        (directory / PROCESSOR_CONFIG).write_text(json.dumps(processor, indent=2) + "\n")
    except OSError as error:
        raise InputError(f"output {directory}: cannot be written ({error})") from error


def merge_into(model: SpatialVla, adapter: Adapter) -> None:
    """Add an adapter to the weights of its base, in place. Sums are made in float32 and rounded once.

    :raises InputError: when the file is damaged, or its tensors do not belong to the model; then nothing was changed.
    """
    heads = [name for name in HEADS if name in adapter.parts]
    for name in heads:
        if getattr(model, name) is None:
            model.add_head(name).to(model.dtype).eval().requires_grad_(False)
    begin, count = model.config.action_token_begin, model.config.num_action_tokens
    whole = {
        _EMBEDDINGS: model.spatial_embed_tokens.weight,
        _HEAD_ROWS: model.head(begin, begin + count),
    }
    # A head is there as a whole or not at all.
    always = {name: each for name, each in model.head_parameters.items() if name.split(".")[0] in heads}
    whole |= always
    layers = {
        published_name(f"{name}.weight").removesuffix(".weight"): module
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear)
    }
    # The published fine-tuning adapts these two with `lora_target` linear+emb and linear+emb+h.
    embeddings = {_EMBEDDINGS.removesuffix(".weight"): model.spatial_embed_tokens.weight}
    # A lean model has only the head's rows of action tokens.
    rows_left_out = {_HEAD.removesuffix(".weight"): model.head_begin}
    merge_adapter_weights(adapter, layers, whole, always, model.device, embeddings, rows_left_out)


def _changed(rows: torch.Tensor, stored: torch.Tensor) -> bool:
    return not torch.equal(rows, stored.to(rows))
