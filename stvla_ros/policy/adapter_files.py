"""Trained adapters in a folder of their own, in peft's format, for networks of any family.

    adapter_config.json          peft's; base_model_name_or_path names the checkpoint that it belongs to
    adapter_model.safetensors    A and B of every adapted layer, and what was trained in full beside them

To act, an adapter is merged into the weights in memory: W + alpha/r B A (arXiv 2106.09685). No code that computes needs
to know about adapters.
"""

import copy
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

from stvla_ros.atomic_files import whole_file
from stvla_ros.devices import memory_for
from stvla_ros.errors import InputError
from stvla_ros.policy.checkpoint_places import find_base, find_base_name
from stvla_ros.policy.checkpoints import ADAPTER_CONFIG, read_json
from stvla_ros.policy.stored_weights import fingerprint, open_tensors
from stvla_ros.settings import shown

ADAPTER_WEIGHTS = "adapter_model.safetensors"
_PREFIX = "base_model.model."
_LORA = re.compile(r"(?P<module>.+)\.lora_(?P<factor>[AB])\.weight")
# peft's names for the two factors of an adapted embedding.
_EMBEDDING_FACTORS = ("lora_embedding_A", "lora_embedding_B")
# Key in the file's metadata: the weights that the adapter was trained on.
_FINGERPRINT = "base_fingerprint"
# Options of peft that change what the tensors mean, and the values that mean plain LoRA. Some initialisations change
# the base's weights, which the tensors then belong to.
_PLAIN = {
    "peft_type": ("LORA",),
    "bias": ("none", None),
    "init_lora_weights": (True, False, None, "gaussian", "eva", "orthogonal"),
}
# Options that say where adapters are, how they were trained, or what the tensors themselves show. Any other option may
# change what an adapter computes, so it is refused.
_HARMLESS = frozenset(
    """
    base_model_name_or_path revision task_type inference_mode auto_mapping r lora_alpha target_modules exclude_modules
    lora_dropout modules_to_save layers_to_transform layers_pattern use_rslora trainable_token_indices eva_config
    megatron_config megatron_core runtime_config qalora_group_size peft_version ensure_weight_tying
    """.split()
)
_MOST_LISTED = 3
# More than any real rank or scale. A number of hundreds of digits cannot be divided.
_MOST = 10**6


@dataclass(frozen=True)
class Adapter:
    """
    :param directory: the adapter's folder.
    :param base: folder of the checkpoint that the adapter was trained on.
    :param rank: rank r of the factors.
    :param scale: factor by which B A is multiplied.
    :param parts: first parts of the tensors' names.
    """

    directory: Path
    base: Path
    rank: int
    scale: float
    parts: frozenset[str] = frozenset()


def write_adapter(
    directory: Path,
    base: str | Path,
    config: Any,
    tensors: Mapping[str, torch.Tensor],
    in_full: Collection[str] = (),
    tokens: Mapping[str, list[int]] | None = None,
) -> None:
    """Write an adapter, over an earlier save.

    :param base: checkpoint that the model was made from, a folder or a hub id.
    :param config: peft's configuration of the adapters.
    :param tensors: tensors by published name.
    :param in_full: names of the modules that were trained in full.
    :param tokens: indices of the rows that are written in place of a whole matrix, by the matrix' name.
    :raises InputError: when ``base`` is no whole checkpoint, or the disk does not take it.
    """
    found = find_base(str(base))
    config = copy.deepcopy(config)
    config.base_model_name_or_path = str(found.resolve()) if Path(base).expanduser().is_dir() else str(base)
    config.inference_mode = True
    config.modules_to_save = sorted(in_full) or None
    if tokens:
        config.trainable_token_indices = dict(tokens)
    named = {_PREFIX + name: tensor.detach().contiguous().cpu() for name, tensor in tensors.items()}
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with whole_file(directory / ADAPTER_WEIGHTS) as aside:
            save_file(named, aside, metadata={"format": "pt", _FINGERPRINT: fingerprint(found)})
            aside.chmod(0o644)  # safetensors lets nobody else read it
        config.save_pretrained(str(directory))
    except OSError as error:
        raise InputError(f"output {directory}: cannot be written ({error})") from error


def read_adapter(directory: Path) -> Adapter:
    """
    :param directory: a folder with an adapter.
    :raises InputError: naming the file and the value that cannot be used; when the base checkpoint is missing or has
        other weights than those trained on.
    """
    file = directory / ADAPTER_CONFIG
    config = read_json(file)
    for key, values in _PLAIN.items():
        if config.get(key) not in values:
            raise InputError(f"{file}: expected {key} {values[0]!r}, got {config.get(key)!r}")
    unknown = sorted(key for key in config.keys() - _PLAIN.keys() - _HARMLESS if config[key])
    if unknown:
        raise InputError(f"{file}: expected plain LoRA, got {shown(unknown[0])}: {shown(config[unknown[0]])}")
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
    return Adapter(directory, base, rank, scale, frozenset(parts))


@torch.no_grad()
def merge_adapter_weights(
    adapter: Adapter,
    layers: Mapping[str, nn.Linear],
    whole: Mapping[str, torch.Tensor],
    always: Collection[str],
    device: torch.device,
    embeddings: Mapping[str, torch.Tensor] = MappingProxyType({}),
    rows_left_out: Mapping[str, int] = MappingProxyType({}),
) -> None:
    """Add an adapter to the weights of its base, in place. Sums are made in float32 and rounded once.

    :param layers: layers that may be adapted, by the published name of their weight without its end.
    :param whole: tensors that the adapter may hold in full, by published name.
    :param always: names of the tensors that it must hold in full.
    :param embeddings: embedding matrices that may be adapted (one row for each token), by their modules' published
        names.
    :param rows_left_out: number of first rows that the model lacks, by the layer's name.
    :raises InputError: when the file is damaged, or its tensors do not belong to the model; then nothing was changed.
    """
    file = adapter.directory / ADAPTER_WEIGHTS
    with open_tensors(file, device) as stored, memory_for(f"adapter {file}"):
        tensors = {name.removeprefix(_PREFIX): stored.get_tensor(name).float() for name in stored.keys()}
    factors = {name: [f"{name}.{factor}" for factor in _EMBEDDING_FACTORS] for name in embeddings}
    factors = {name: both for name, both in factors.items() if tensors.keys() & set(both)}
    of_embeddings = {each for both in factors.values() for each in both}
    matched = {name: _LORA.fullmatch(name) for name in tensors.keys() - whole.keys() - of_embeddings}
    adapted = {match["module"] for match in matched.values() if match}
    strangers = sorted(
        [name for name, match in matched.items() if not match] + [name for name in adapted if name not in layers]
    )
    if strangers or not (adapted or factors):
        named = ", ".join(strangers[:_MOST_LISTED]) or "none"
        raise InputError(
            f"{file}: expected adapters of linear layers of the model, got {len(strangers)} others: {named}"
        )
    expected = {name: tuple(rows.shape) for name, rows in whole.items() if name in always or name in tensors}
    for name in adapted:
        expected[f"{name}.lora_A.weight"] = (adapter.rank, layers[name].in_features)
        expected[f"{name}.lora_B.weight"] = (layers[name].out_features + rows_left_out.get(name, 0), adapter.rank)
    for name, (first, second) in factors.items():
        rows, width = embeddings[name].shape
        expected |= {first: (adapter.rank, rows), second: (width, adapter.rank)}
    for name, shape in sorted(expected.items()):
        got = tuple(tensors[name].shape) if name in tensors else None
        if got != shape:
            raise InputError(f"{file}: expected {name} of shape {shape} for {adapter.base}, got {got or 'none'}")
        if not tensors[name].isfinite().all():
            raise InputError(f"{file}: expected finite numbers, {name} has others")
    for name in adapted:
        weight = layers[name].weight
        factor = tensors[f"{name}.lora_B.weight"][rows_left_out.get(name, 0) :]
        update = factor @ tensors[f"{name}.lora_A.weight"]
        weight.copy_(weight.float() + adapter.scale * update)
    for name, matrix in whole.items():
        if name in tensors:
            matrix.copy_(tensors[name])
    for name, (first, second) in factors.items():
        matrix = embeddings[name]
        matrix.copy_(matrix.float() + adapter.scale * (tensors[second] @ tensors[first]).T)
