"""Loads and saves weights in safetensors under the published names. The published pickles are converted once
(conversion.py).
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import torch

from stvla_ros.devices import memory_for
from stvla_ros.errors import InputError, reason_of
from stvla_ros.perception.depth.constant import NO_DEPTH
from stvla_ros.policy.checkpoints import TRAINING_RECORD
from stvla_ros.policy.empty_networks import without_memory
from stvla_ros.policy.st4vla.config import St4VlaConfig
from stvla_ros.policy.st4vla.model import HEAD, TEXT, St4Vla
from stvla_ros.policy.st4vla.sizes import MODEL_TYPE
from stvla_ros.policy.stored_weights import check_tensors, open_tensors, stored_shapes, weight_files
from stvla_ros.policy.weight_shards import write_shards

# Parts that compute in float32, whatever the type of the rest.
_PRECISE = ("layer_qformer.", "action_model.")


def empty_model(config: St4VlaConfig, source: str = "config.json") -> St4Vla:
    """The network without memory for its weights (they are on torch's meta device); buffers are real.

    :param source: origin of the configuration, for the error message.
    :raises InputError: when no network can be made of these sizes.
    """
    try:
        with without_memory():
            return St4Vla(config).eval().requires_grad_(False)
    except Exception as error:  # whatever the parts' classes run into
        reason = f"{type(error).__name__}: {reason_of(error)}"
        raise InputError(f"{source}: expected sizes that belong together, no network can be made ({reason})") from error


def expected_shapes(model: St4Vla) -> dict[str, tuple[int, ...]]:
    """Shapes of the stored tensors by published name. A head that is the same as the text embeddings is not stored
    again.
    """
    shapes = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    if model.config.vlm.tie_word_embeddings:
        del shapes[HEAD]
    return shapes


def stored_dtype(name: str, dtype: torch.dtype) -> torch.dtype:
    """The type of one tensor in a checkpoint whose vision-language model has the type ``dtype``."""
    return torch.float32 if name.startswith(_PRECISE) else dtype


def check_weights(directory: Path) -> tuple[St4Vla, list[Path]]:
    """Check the weights of a checkpoint. Reads headers, no numbers.

    :returns: the network without memory for its weights, and the files that hold exactly its tensors.
    :raises InputError: when files are missing or damaged, when tensors are missing, left over or of another shape
        (with their names).
    """
    model = empty_model(St4VlaConfig.read(directory), str(directory / "config.json"))
    files = weight_files(directory)
    stored = stored_shapes(files)
    if model.config.vlm.tie_word_embeddings:
        stored.pop(HEAD, None)  # others may store it
    check_tensors(directory, expected_shapes(model), stored)
    return model, files


def load_model(directory: Path, device: torch.device, dtype: torch.dtype) -> St4Vla:
    """Load a checkpoint for inference. Every tensor goes from the file straight to the device.

    :param dtype: type of the vision-language model and DINOv2.
    :raises InputError: as ``check_weights``, or when there is too little memory.
    """
    model, files = check_weights(directory)
    state: dict[str, torch.Tensor] = {}
    size = sum(tensor.numel() for tensor in model.state_dict().values()) * dtype.itemsize
    with memory_for(f"checkpoint {directory}, {size / 1e9:.1f} GB as {dtype} on {device}"):
        for file in files:
            with open_tensors(file, device) as tensors:
                for name in tensors.keys():
                    state[name] = tensors.get_tensor(name).to(stored_dtype(name, dtype))
        if model.config.vlm.tie_word_embeddings:
            state[HEAD] = state[TEXT]
        model.load_state_dict(state, assign=True)
        model.qwen_vl_interface.model.tie_weights()
        return model.to(device).eval().requires_grad_(False)


def save_tensors(
    shapes: Mapping[str, tuple[int, ...]],
    tensor: Callable[[str], torch.Tensor],
    directory: Path,
    dtype: torch.dtype,
    max_shard_size: int | str = "5GB",
) -> None:
    """Write the weights, one file's tensors in memory at a time.

    :param shapes: shapes of the tensors by published name.
    :param tensor: function that returns each tensor by its name, in any type.
    :param dtype: type of the vision-language model and DINOv2.
    :param max_shard_size: largest file, in bytes or like "5GB"; more weights are split, with an index.
    """
    planned = {
        name: torch.empty(shape, dtype=stored_dtype(name, dtype), device="meta") for name, shape in shapes.items()
    }
    write_shards(
        planned,
        lambda name: tensor(name).detach().to("cpu", stored_dtype(name, dtype)).contiguous(),
        directory,
        max_shard_size,
    )


def save_model(model: St4Vla, directory: Path, dtype: torch.dtype, max_shard_size: int | str = "5GB") -> None:
    """Write config.json and the weights under the published names. For the parameters see ``save_tensors``."""
    directory.mkdir(parents=True, exist_ok=True)
    state = model.state_dict()
    save_tensors(expected_shapes(model), state.__getitem__, directory, dtype, max_shard_size)
    model.config.write(directory, str(dtype).removeprefix("torch."))


def write_record(directory: Path) -> None:
    """Write the record of a checkpoint that was not trained here: what it is shown, and how its chunks are executed, as
    in the published evaluation.
    """
    record = {
        "family": MODEL_TYPE,
        "options": {},
        "inputs": {"traces": "none", "depth": NO_DEPTH, "resize": "bicubic"},
        "execution": "adaptive_ensemble",
    }
    (directory / TRAINING_RECORD).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def stored_bytes(model: St4Vla, dtype: torch.dtype) -> int:
    """The approximate size of a checkpoint on the disk."""
    return sum(
        torch.Size(shape).numel() * stored_dtype(name, dtype).itemsize for name, shape in expected_shapes(model).items()
    )
