"""Loads depth networks from `transformers` checkpoints, with one clear error for any fault."""

from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from transformers import AutoConfig, PreTrainedModel
from transformers.utils import logging

from stvla_ros.devices import memory_for
from stvla_ros.errors import DeviceLost, InputError, reason_of
from stvla_ros.safe_files import check_network_sizes, read_json_file

Model = TypeVar("Model", bound=PreTrainedModel)


def load_config(model_class: type[Model], checkpoint: str, example: str):
    """
    :param checkpoint: local folder, or id on the Hugging Face hub.
    :param example: usable hub id, for the error message.
    :returns: the checkpoint's `transformers` configuration.
    :raises InputError: when there is none, or it belongs to another model.
    """
    local = Path(checkpoint).expanduser()
    if not checkpoint or (checkpoint[0] in "./~" and not local.is_dir()):
        raise InputError(
            "depth checkpoint: expected a folder with config.json and model.safetensors or a hub id, "
            f"got {checkpoint!r}; "
            f"get one with: hf download {example} --local-dir FOLDER"
        )
    try:
        described = read_json_file(local / "config.json") if (local / "config.json").is_file() else None
    except (OSError, InputError) as error:
        raise _unreadable(checkpoint, example, error) from error
    if isinstance(described, dict):
        check_network_sizes(str(local / "config.json"), described)
    try:
        config = AutoConfig.from_pretrained(local if local.is_dir() else checkpoint)
    except Exception as error:  # the hub client and the parsers below it raise many unrelated types
        raise _unreadable(checkpoint, example, error) from error
    if config.model_type != model_class.config_class.model_type:
        raise InputError(
            f"depth checkpoint {checkpoint}: expected a {model_class.config_class.model_type!r} model "
            f"such as {example}, got {config.model_type!r}"
        )
    return config


def load_depth_model(
    model_class: type[Model], checkpoint: str, example: str, device: torch.device, dtype: torch.dtype
) -> Model:
    """Load a network for inference. Weights come from safetensors files only: pickles can run code.

    :raises InputError: when files are missing or damaged, when weights of the network are missing (it would run with
        random ones), or when memory runs out.
    """
    memory = f"depth checkpoint {checkpoint} as {dtype} on {device}"
    local = Path(checkpoint).expanduser()
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()  # what it would warn about is raised below
    try:
        with memory_for(memory):
            model, report = model_class.from_pretrained(
                local if local.is_dir() else checkpoint, dtype=dtype, use_safetensors=True, output_loading_info=True
            )
    except (InputError, DeviceLost):
        raise
    except Exception as error:  # as above; safetensors has its own
        raise _unreadable(checkpoint, example, error) from error
    finally:
        logging.set_verbosity(verbosity)
    lacking = sorted(report["missing_keys"]) + sorted(str(key) for key in report["mismatched_keys"])
    if lacking:
        raise InputError(
            f"depth checkpoint {checkpoint}: {len(lacking)} weights are missing or have another shape, "
            f"first {lacking[0]}; "
            f"get it anew: hf download {example} --local-dir FOLDER"
        )
    with memory_for(memory):
        return model.to(device).eval().requires_grad_(False)


def to_pixels(rgb: np.ndarray, device: torch.device) -> torch.Tensor:
    """(H, W, 3) uint8 to (1, 3, H, W) float32 in [0, 1] on the device."""
    return torch.from_numpy(np.ascontiguousarray(rgb)).to(device).permute(2, 0, 1)[None].float() / 255


def _unreadable(checkpoint: str, example: str, error: Exception) -> InputError:
    return InputError(
        f"depth checkpoint {checkpoint}: cannot be loaded ({reason_of(error)}); "
        f"on a machine with internet: hf download {example} --local-dir FOLDER, then give FOLDER"
    )
