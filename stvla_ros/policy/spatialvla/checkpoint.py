"""Weights: the published tensor names, loading and saving. safetensors only: pickles can run code."""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from accelerate import init_empty_weights
from huggingface_hub import snapshot_download, split_torch_state_dict_into_shards
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from transformers.initialization import no_init_weights

from stvla_ros.devices import memory_for
from stvla_ros.errors import InputError
from stvla_ros.policy.spatialvla.config import SpatialVlaConfig, read_json
from stvla_ros.policy.spatialvla.model import SpatialVla

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
# What is downloaded of a hub repository; everything else in it is code or for other programs.
_FILES = ["*.safetensors", "*config.json", "tokenizer.json", "special_tokens_map.json", INDEX]
# A name that is longer than any file's is asked for in vain.
_WEIGHT_FILE = re.compile(r"[A-Za-z0-9_.-]{1,200}\.safetensors")
_MOST_LISTED = 12
# Quantised weights mean nothing without their scales.
_STORED_TYPES = ("F64", "F32", "F16", "BF16")

# transformers 5 (left) to published names; facts/spatialvla.md.
_LAYER = r"^(vision_zoe_model\.backbone\.encoder\.layer\.\d+\.)"
_TO_PUBLISHED = (
    (r"^vision_tower\.", "vision_tower.vision_model."),
    (r"^vision_zoe_model\.backbone\.beit\.embeddings\.", "vision_zoe_model.backbone.embeddings."),
    (r"^vision_zoe_model\.backbone\.beit\.layers\.", "vision_zoe_model.backbone.encoder.layer."),
    (_LAYER + r"relative_position_bias\.", r"\1attention.attention.relative_position_bias."),
    (_LAYER + r"attention\.q_proj\.", r"\1attention.attention.query."),
    (_LAYER + r"attention\.k_proj\.", r"\1attention.attention.key."),
    (_LAYER + r"attention\.v_proj\.", r"\1attention.attention.value."),
    (_LAYER + r"attention\.o_proj\.", r"\1attention.output.dense."),
    (_LAYER + r"mlp\.fc1\.", r"\1intermediate.dense."),
    (_LAYER + r"mlp\.fc2\.", r"\1output.dense."),
)


def published_name(name: str) -> str:
    """The published name of a tensor of ``SpatialVla``."""
    for pattern, replacement in _TO_PUBLISHED:
        name = re.sub(pattern, replacement, name)
    return name


def empty_model(config: SpatialVlaConfig, source: str = "config.json") -> SpatialVla:
    """The network without memory for its weights (they are on torch's meta device); buffers are real.

    :param source: where the configuration is from, for the error message.
    :raises InputError: for sizes that make no network.
    """
    try:
        with init_empty_weights(include_buffers=False), no_init_weights():
            return SpatialVla(config).eval().requires_grad_(False)
    except Exception as error:  # whatever the parts' classes run into
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"
        raise InputError(f"{source}: expected sizes that belong together, no network can be made ({reason})") from error


def find_checkpoint(path_or_id: str) -> Path:
    """The folder of a checkpoint; one that is named by its id is downloaded, unless that was done before.

    :param path_or_id: a local folder, or an id on the Hugging Face hub.
    :raises InputError: when there is neither.
    """
    try:
        local = Path(path_or_id).expanduser()
        if path_or_id and local.is_dir():
            return local
    except (OSError, RuntimeError) as error:  # a name too long; no such user's home
        raise InputError(
            f"checkpoint: expected a folder or a hub id, got {path_or_id[:80]!r} ({error.args[-1]})"
        ) from error
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", path_or_id) or path_or_id.startswith("."):
        raise InputError(f"checkpoint: expected a folder with config.json or a hub id, got {path_or_id!r}")
    try:
        return Path(snapshot_download(path_or_id, allow_patterns=_FILES))
    except Exception as error:  # the hub client raises many unrelated types
        reason = " ".join(str(error).split())[:160] or type(error).__name__
        raise InputError(
            f"checkpoint {path_or_id}: there is no such folder, and the hub gave none ({reason}); on a machine with "
            f"internet: hf download {path_or_id} --local-dir FOLDER, then give FOLDER"
        ) from error


def load_model(directory: Path, device: torch.device, dtype: torch.dtype) -> SpatialVla:
    """Load a checkpoint in the published layout for inference.

    Every tensor goes from the file straight to the device, so that no second copy of the network is ever in memory.

    :raises InputError: when files are missing or damaged, when tensors are missing, left over or of another shape
        (with their names), or when there is too little memory.
    """
    model, files = check_weights(directory)
    gigabytes = sum(tensor.numel() for tensor in model.state_dict().values()) * dtype.itemsize / 1e9
    stored: dict[str, torch.Tensor] = {}
    with memory_for(f"checkpoint {directory}, {gigabytes:.1f} GB as {dtype} on {device}"):
        for file in files:
            with open_tensors(file, device) as tensors:
                stored.update((name, tensors.get_tensor(name).to(dtype)) for name in tensors.keys())
        model.load_state_dict({name: stored[published_name(name)] for name in model.state_dict()}, assign=True)
        return model.to(device).eval().requires_grad_(False)


def check_weights(directory: Path) -> tuple[SpatialVla, list[Path]]:
    """Read what a checkpoint in the published layout says of its weights: headers, no numbers.

    :returns: the network without memory for its weights, and the files that hold exactly its tensors.
    :raises InputError: when files are missing or damaged, when tensors are missing, left over or of another shape
        (with their names).
    """
    model = empty_model(SpatialVlaConfig.read(directory), str(directory / "config.json"))
    shapes = {published_name(name): tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    files = _weight_files(directory)
    _check_tensors(directory, shapes, _stored_shapes(files))
    return model, files


def save_model(model: SpatialVla, directory: Path, max_shard_size: int | str = "5GB") -> None:
    """Write config.json and the weights in the published layout, with the type that they have.

    :param max_shard_size: largest file, in bytes or like "5GB"; more weights are split, with an index.
    """
    directory.mkdir(parents=True, exist_ok=True)
    tensors = {published_name(name): tensor.contiguous() for name, tensor in model.state_dict().items()}
    split = split_torch_state_dict_into_shards(tensors, max_shard_size=max_shard_size)
    for file, names in split.filename_to_tensors.items():
        save_file({name: tensors[name] for name in names}, directory / file, metadata={"format": "pt"})
        (directory / file).chmod(0o644)  # safetensors lets nobody else read it
    if split.is_sharded:
        index = {"metadata": split.metadata, "weight_map": split.tensor_to_filename}
        (directory / INDEX).write_text(json.dumps(index, indent=2) + "\n")
    # What an earlier save left would be loaded in place of what was just written.
    written = {*split.filename_to_tensors, INDEX} if split.is_sharded else {*split.filename_to_tensors}
    for file in [directory / INDEX, directory / WEIGHTS, *directory.glob("model-*-of-*.safetensors")]:
        if file.name not in written:
            file.unlink(missing_ok=True)
    model.config.write(directory, str(model.dtype).removeprefix("torch."))


@contextmanager
def open_tensors(file: Path, device: torch.device = torch.device("cpu")) -> Iterator[Any]:
    """A safetensors file, see ``safetensors.safe_open``.

    :raises InputError: when it turns out to be missing or damaged, also while it is read.
    """
    try:
        with safe_open(file, framework="pt", device=str(device)) as tensors:
            yield tensors
    except (SafetensorError, OSError) as error:
        reason = " ".join(str(error).split())[:160]
        raise InputError(f"{file}: expected a complete safetensors file ({reason})") from error


def read_rows(directory: Path, name: str, first: int, end: int) -> torch.Tensor:
    """Rows first … end - 1 of a checkpoint's tensor, by its published name; nothing else of it is read.

    :raises InputError: when files are missing or damaged, or there is no such tensor.
    """
    for file in _weight_files(directory):
        with open_tensors(file) as tensors:
            if name in tensors.keys():
                return tensors.get_slice(name)[first:end]
    raise InputError(f"checkpoint {directory}: expected a tensor {name}, there is none")


def fingerprint(directory: Path) -> str:
    """What tells a checkpoint's weights from others of the same shape: a hash of every tensor's name, shape, type and
    first row. Not of all numbers, so that it takes no time: training changes every matrix everywhere.

    :raises InputError: when files are missing or damaged.
    """
    rows: dict[str, bytes] = {}
    for file in _weight_files(directory):
        with open_tensors(file) as tensors:
            for name in tensors.keys():
                stored = tensors.get_slice(name)
                row = stored[:1] if stored.get_shape() else tensors.get_tensor(name)
                described = f"{stored.get_shape()} {stored.get_dtype()}".encode()
                rows[name] = described + row.reshape(-1).view(torch.uint8).numpy().tobytes()
    digest = hashlib.sha256()
    for name in sorted(rows):
        digest.update(name.encode() + rows[name])
    return digest.hexdigest()


def _weight_files(directory: Path) -> list[Path]:
    if (directory / INDEX).is_file():
        weight_map = read_json(directory / INDEX).get("weight_map")
        # Names only: an index has no business elsewhere on the disk, nor with files of other kinds.
        if not (
            isinstance(weight_map, dict)
            and weight_map
            and all(isinstance(name, str) and re.fullmatch(_WEIGHT_FILE, name) for name in weight_map.values())
        ):
            raise InputError(
                f"{directory / INDEX}: expected a weight_map from tensors to *.safetensors files beside it"
            )
        names = sorted(set(weight_map.values()))
        lacking = [name for name in names if not (directory / name).is_file()]
        if lacking:
            raise InputError(
                f"checkpoint {directory}: expected the weight files that {INDEX} names, missing: {', '.join(lacking)}"
            )
        return [directory / name for name in names]
    if not (directory / WEIGHTS).is_file():
        raise InputError(f"checkpoint {directory}: expected {WEIGHTS} or {INDEX}, there is neither")
    return [directory / WEIGHTS]


def _stored_shapes(files: list[Path]) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}
    for file in files:
        with open_tensors(file) as tensors:
            for name in tensors.keys():
                stored = tensors.get_slice(name)
                if stored.get_dtype() not in _STORED_TYPES:
                    raise InputError(
                        f"{file}: expected {name} as one of {', '.join(_STORED_TYPES)}, got {stored.get_dtype()}"
                    )
                shapes[name] = tuple(stored.get_shape())
    return shapes


def _check_tensors(
    directory: Path, expected: Mapping[str, tuple[int, ...]], stored: Mapping[str, tuple[int, ...]]
) -> None:
    problems = {
        "missing": sorted(expected.keys() - stored.keys()),
        "not part of the model": sorted(stored.keys() - expected.keys()),
        "of another shape": [
            f"{name} (expected {expected[name]}, got {stored[name]})"
            for name in sorted(expected.keys() & stored.keys())
            if expected[name] != stored[name]
        ],
    }
    lines = []
    for kind, names in problems.items():
        if names:
            more = f" and {len(names) - _MOST_LISTED} more" if len(names) > _MOST_LISTED else ""
            lines.append(f"{len(names)} {kind}: {', '.join(names[:_MOST_LISTED])}{more}")
    if lines:
        raise InputError(f"checkpoint {directory}: its tensors do not fit its config.json; {'; '.join(lines)}")
