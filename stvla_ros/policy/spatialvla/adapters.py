"""Trained adapters in a folder of their own, in peft's format: what is learnt, without the gigabytes it was learnt on.

    adapter_config.json          peft's; base_model_name_or_path names the checkpoint that it belongs to
    adapter_model.safetensors    A and B of every adapted layer, the action tokens' rows where they changed, and the
                                 heads for traces and for an earlier picture where they were trained
    processor_config.json        action bins and statistics of the training set

Tensors have the published modules' names, so adapters made by SpatialVLA's own fine-tuning load here, and ours there.
They are placed as in this model's published recipe (github SpatialVLA/SpatialVLA, train/spatialvla_finetune.py, target
"linear"): on every linear layer of language model, picture encoder, projector and Ego3D head, r = alpha = 32, no
dropout; with action bins that were fitted anew, the action embeddings are trained in full as well.
To act, an adapter is merged into the weights in memory: W + alpha/r B A (arXiv 2106.09685). So decoding knows nothing
of adapters.
"""

import copy
import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

from stvla_ros.atomic_files import whole_file
from stvla_ros.devices import memory_for
from stvla_ros.errors import InputError
from stvla_ros.policy.checkpoints import (
    ADAPTER_CONFIG,
    find_base,
    find_base_name,
    fingerprint,
    open_tensors,
    read_json,
    read_rows,
)
from stvla_ros.policy.lora import LoraConfig, put_adapters
from stvla_ros.policy.spatialvla.checkpoint import published_name
from stvla_ros.policy.spatialvla.config import HEADS
from stvla_ros.policy.spatialvla.model import SpatialVla
from stvla_ros.policy.spatialvla.sizes import PROCESSOR_CONFIG
from stvla_ros.settings import shown

# Full names, anchored by their parts: ZoeDepth's layers have the same last names. They fit the published module
# names (vision_tower.vision_model.…) too, so that the published code reads an adapter_config.json with them.
TARGET_MODULES = (
    r"(language_model\.model|vision_tower|multi_modal_projector|position_embedding_3d)\.(.+\.)?"
    r"([qkvo]_proj|out_proj|gate_proj|up_proj|down_proj|fc1|fc2|linear|position_embedding_head\.[03])"
)

ADAPTER_WEIGHTS = "adapter_model.safetensors"
_PREFIX = "base_model.model."
# In place of the rows of some tokens (peft's name for it, though it is no difference).
_HEAD_ROWS = "language_model.lm_head.token_adapter.trainable_tokens_delta"
_EMBEDDINGS, _HEAD = "spatial_embed_tokens.weight", "language_model.lm_head.weight"
_LORA = re.compile(r"(?P<module>.+)\.lora_(?P<factor>[AB])\.weight")
# In the file's metadata: which weights it was trained on.
_FINGERPRINT = "base_fingerprint"
# Options of peft that change what the tensors mean.
_PLAIN = {"peft_type": ("LORA",), "bias": ("none", None)}
_UNUSED = ("use_dora", "rank_pattern", "alpha_pattern", "fan_in_fan_out", "lora_bias", "layer_replication")
_MOST_LISTED = 3
# More than any rank or scale; a number of hundreds of digits cannot be divided.
_MOST = 10**6


@dataclass(frozen=True)
class Adapter:
    """
    :param directory: its folder.
    :param base: folder of the checkpoint that it was trained on.
    :param rank: r.
    :param scale: of B A.
    :param heads: which of ``config.HEADS`` it brings; its base then gets them.
    """

    directory: Path
    base: Path
    rank: int
    scale: float
    heads: tuple[str, ...] = ()


def add_adapters(
    model: SpatialVla,
    config: LoraConfig,
    seed: int = 0,
    train_action_embeddings: bool = False,
    train_heads: Collection[str] = (),
) -> SpatialVla:
    """Put trainable adapters into the model, in place, see ``lora.put_adapters``.

    :param train_action_embeddings: also train ``spatial_embed_tokens`` in full; meant for refitted action bins.
    :param train_heads: of the ``config.HEADS`` that the model has, those to train in full as well.
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
    """Write the adapters of a model (``policy/lora.py``), over an earlier save.

    The action embeddings and the head's rows for action tokens are written in full when they are no longer the base's.

    :param base: the checkpoint that the model was made of, a folder or a hub id.
    :param processor: content of processor_config.json, with the bins and statistics trained with.
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
    config = copy.deepcopy(model.peft_config["default"])
    config.base_model_name_or_path = str(found.resolve()) if Path(base).expanduser().is_dir() else str(base)
    config.inference_mode = True
    begin, count = model.config.action_token_begin, model.config.num_action_tokens
    embeddings, head = model.spatial_embed_tokens.weight, model.head(begin, begin + count)
    in_full = []
    if _changed(embeddings, read_rows(found, _EMBEDDINGS, 0, count)):
        in_full.append(_EMBEDDINGS.removesuffix(".weight"))
        tensors[_EMBEDDINGS] = embeddings
    in_full += sorted({name.split(".")[0] for name in of_heads})
    tensors |= {name: model.get_parameter(name) for name in of_heads}
    config.modules_to_save = in_full or None
    if _changed(head, read_rows(found, _HEAD, begin, begin + count)):
        config.trainable_token_indices = {"lm_head": list(range(begin, begin + count))}
        tensors[_HEAD_ROWS] = head
    named = {_PREFIX + published_name(name): tensor.detach().contiguous().cpu() for name, tensor in tensors.items()}
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with whole_file(directory / ADAPTER_WEIGHTS) as aside:
            save_file(named, aside, metadata={"format": "pt", _FINGERPRINT: fingerprint(found)})
            aside.chmod(0o644)  # safetensors lets nobody else read it
        (directory / PROCESSOR_CONFIG).write_text(json.dumps(processor, indent=2) + "\n")
        config.save_pretrained(str(directory))
    except OSError as error:
        raise InputError(f"output {directory}: cannot be written ({error})") from error


def read_adapter(directory: Path) -> Adapter:
    """
    :param directory: a folder with an adapter.
    :raises InputError: naming the file and what in it cannot be used; when the base checkpoint is missing or has other
        weights than those trained on.
    """
    file = directory / ADAPTER_CONFIG
    config = read_json(file)
    for key, values in _PLAIN.items():
        if config.get(key) not in values:
            raise InputError(f"{file}: expected {key} {values[0]!r}, got {config.get(key)!r}")
    unknown = [key for key in _UNUSED if config.get(key)]
    if unknown:
        raise InputError(f"{file}: expected plain LoRA, got {unknown[0]}: {config[unknown[0]]!r}")
    rank, alpha = config.get("r"), config.get("lora_alpha")
    if type(rank) is not int or not 0 < rank <= _MOST or not isinstance(alpha, int | float) or not 0 < alpha <= _MOST:
        raise InputError(f"{file}: expected numbers r and lora_alpha above 0, got {shown(rank)} and {shown(alpha)}")
    name = find_base_name(directory)
    try:
        base = find_base(name)
    except InputError as error:
        raise InputError(f"{file}, base_model_name_or_path: {error}") from error
    with open_tensors(directory / ADAPTER_WEIGHTS) as tensors:
        expected = (tensors.metadata() or {}).get(_FINGERPRINT)
        parts = {name.removeprefix(_PREFIX).split(".")[0] for name in tensors.keys()}
    if expected and expected != fingerprint(base):
        raise InputError(
            f"{file}: expected {base} to be the checkpoint that the adapter was trained on, its weights are others"
        )
    scale = alpha / rank**0.5 if config.get("use_rslora") else alpha / rank
    return Adapter(directory, base, rank, scale, tuple(head for head in HEADS if head in parts))


@torch.no_grad()
def merge_into(model: SpatialVla, adapter: Adapter) -> None:
    """Add an adapter to the weights of its base, in place. Sums are made in float32 and rounded once.

    :raises InputError: when the file is damaged, or its tensors do not belong to the model; then nothing was changed.
    """
    for name in adapter.heads:
        if getattr(model, name) is None:
            model.add_head(name).to(model.dtype).eval().requires_grad_(False)
    file = adapter.directory / ADAPTER_WEIGHTS
    with open_tensors(file, model.device) as stored, memory_for(f"adapter {file}"):
        tensors = {name.removeprefix(_PREFIX): stored.get_tensor(name).float() for name in stored.keys()}
    begin, count = model.config.action_token_begin, model.config.num_action_tokens
    whole = {
        _EMBEDDINGS: model.spatial_embed_tokens.weight,
        _HEAD_ROWS: model.head(begin, begin + count),
    }
    # A head is there as a whole or not at all.
    always = {name: each for name, each in model.head_parameters.items() if name.split(".")[0] in adapter.heads}
    whole |= always
    layers = {
        published_name(f"{name}.weight").removesuffix(".weight"): module
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear)
    }
    matched = {name: _LORA.fullmatch(name) for name in tensors.keys() - whole.keys()}
    adapted = {match["module"] for match in matched.values() if match}
    strangers = sorted(
        [name for name, match in matched.items() if not match] + [name for name in adapted if name not in layers]
    )
    if strangers or not adapted:
        shown = ", ".join(strangers[:_MOST_LISTED]) or "none"
        raise InputError(
            f"{file}: expected adapters of linear layers of the model, got {len(strangers)} others: {shown}"
        )
    expected = {name: tuple(rows.shape) for name, rows in whole.items() if name in always or name in tensors}
    for name in adapted:
        expected[f"{name}.lora_A.weight"] = (adapter.rank, layers[name].in_features)
        expected[f"{name}.lora_B.weight"] = (layers[name].out_features, adapter.rank)
    for name, shape in sorted(expected.items()):
        got = tuple(tensors[name].shape) if name in tensors else None
        if got != shape:
            raise InputError(f"{file}: expected {name} of shape {shape} for {adapter.base}, got {got or 'none'}")
        if not tensors[name].isfinite().all():
            raise InputError(f"{file}: expected finite numbers, {name} has others")
    for name in adapted:
        weight = layers[name].weight
        update = tensors[f"{name}.lora_B.weight"] @ tensors[f"{name}.lora_A.weight"]
        weight.copy_(weight.float() + adapter.scale * update)
    for name, rows in whole.items():
        if name in tensors:
            rows.copy_(tensors[name])


def _changed(rows: torch.Tensor, stored: torch.Tensor) -> bool:
    return not torch.equal(rows, stored.to(rows))
