"""Loads and saves weights under the published tensor names. safetensors only: pickles can run code."""

import re
from pathlib import Path

import torch

from stvla_ros.devices import memory_for
from stvla_ros.errors import InputError, reason_of
from stvla_ros.policy.empty_networks import without_memory
from stvla_ros.policy.spatialvla.config import SpatialVlaConfig
from stvla_ros.policy.spatialvla.model import SpatialVla
from stvla_ros.policy.stored_weights import check_tensors, open_tensors, stored_shapes, weight_files
from stvla_ros.policy.weight_shards import write_shards

# transformers 5 (left) to published names.
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


_HEAD, _TEXT = "language_model.lm_head.weight", "language_model.model.embed_tokens.weight"
_DEPTH = "vision_zoe_model."


def published_name(name: str) -> str:
    """The published name of a tensor of ``SpatialVla``."""
    for pattern, replacement in _TO_PUBLISHED:
        name = re.sub(pattern, replacement, name)
    return name


def empty_model(config: SpatialVlaConfig, source: str = "config.json", lean: bool = False) -> SpatialVla:
    """The network without memory for its weights (they are on torch's meta device); buffers are real.

    :param source: origin of the configuration, for the error message.
    :param lean: whether the network is lean, see ``SpatialVla``.
    :raises InputError: when no network can be made of these sizes.
    """
    if not lean:
        # Imported before: a module imported inside would keep the initialisation that does nothing.
        from transformers import ZoeDepthForDepthEstimation  # noqa: F401
    try:
        with without_memory():
            return SpatialVla(config, lean).eval().requires_grad_(False)
    except Exception as error:  # the parts' classes raise many types
        reason = f"{type(error).__name__}: {reason_of(error)}"
        raise InputError(f"{source}: expected sizes that belong together, no network can be made ({reason})") from error


def load_model(directory: Path, device: torch.device, dtype: torch.dtype, lean: bool = False) -> SpatialVla:
    """Load a checkpoint in the published layout for inference.

    Every tensor goes from the file straight to the device, so that no second copy of the network is ever in memory. A
    lean model's table of text embeddings stays in the file, and only the rows in use are read.

    :param lean: whether the network is lean, see ``SpatialVla``.
    :raises InputError: when files are missing or damaged, when tensors are missing, left over or of another shape
        (with their names), or when there is too little memory.
    """
    model, files = check_weights(directory, lean)
    wanted = {published_name(name): name for name in model.state_dict()}
    gigabytes = sum(tensor.numel() for tensor in model.state_dict().values()) * dtype.itemsize / 1e9
    loaded: dict[str, torch.Tensor] = {}
    with memory_for(f"checkpoint {directory}, {gigabytes:.1f} GB as {dtype} on {device}"):
        for file in files:
            with open_tensors(file, device) as tensors:
                for published in tensors.keys() & wanted.keys():
                    if lean and published == _HEAD:
                        first = model.head_begin
                        tensor = tensors.get_slice(published)[first : first + model.config.num_action_tokens]
                    else:
                        tensor = tensors.get_tensor(published)
                    loaded[wanted[published]] = tensor.to(dtype)
            if lean:
                with open_tensors(file) as tensors:
                    if _TEXT in tensors.keys():
                        model.text_table = tensors.get_tensor(_TEXT)  # safetensors maps the file, and reads nothing yet
        model.load_state_dict(loaded, assign=True)
        return model.to(device).eval().requires_grad_(False)


def check_weights(directory: Path, lean: bool = False) -> tuple[SpatialVla, list[Path]]:
    """Check the weights of a checkpoint in the published layout. Reads headers, no numbers.

    :param lean: whether the network is lean, see ``SpatialVla``; the depth network is then not checked.
    :returns: the network without memory for its weights, and the files that hold exactly its tensors.
    :raises InputError: when files are missing or damaged, when tensors are missing, left over or of another shape
        (with their names).
    """
    model = empty_model(SpatialVlaConfig.read(directory), str(directory / "config.json"), lean)
    shapes = {published_name(name): tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    files = weight_files(directory)
    stored = stored_shapes(files)
    if lean:
        text = model.config.text
        shapes |= dict.fromkeys((_HEAD, _TEXT), (text.vocab_size, text.hidden_size))
        stored = {name: shape for name, shape in stored.items() if not name.startswith(_DEPTH)}
    check_tensors(directory, shapes, stored)
    return model, files


def save_model(model: SpatialVla, directory: Path, max_shard_size: int | str = "5GB") -> None:
    """Write config.json and the weights in the published layout, with the type that they have.

    :param max_shard_size: largest file, in bytes or like "5GB"; more weights are split, with an index.
    """
    if model.lean:
        raise ValueError("expected a whole model, a lean one lacks parts of the checkpoint")
    directory.mkdir(parents=True, exist_ok=True)
    tensors = {published_name(name): tensor.contiguous() for name, tensor in model.state_dict().items()}
    write_shards(tensors, tensors.__getitem__, directory, max_shard_size)
    model.config.write(directory, str(model.dtype).removeprefix("torch."))
