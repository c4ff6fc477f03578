"""Makes a new checkpoint with random weights in the published layout, to be trained or to be measured."""

import json
import math
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from stvla_ros.policy.checkpoints import new_folder
from stvla_ros.policy.sampling import check_seed
from stvla_ros.policy.spatialvla.actions.bin_fitting import PUBLISHED_GAUSSIANS, bins_from_gaussians
from stvla_ros.policy.spatialvla.checkpoint import empty_model, published_name, save_model
from stvla_ros.policy.spatialvla.config import SpatialVlaConfig
from stvla_ros.policy.spatialvla.model import SpatialVla
from stvla_ros.policy.spatialvla.sizes import BOS, EOS, PAD, UNK, published_config
from stvla_ros.policy.spatialvla.vocabulary import SPECIAL_TOKENS, make_tokenizer
from stvla_ros.policy.untrained import UNTRAINED_KEY, random_network, untrained_statistics

# Type of the published weights.
_DTYPE = torch.bfloat16
# Both published entries (the data set's and the default) are of this camera with 640x480 pixels.
_INTRINSICS = {
    "width": 640,
    "height": 480,
    "intrinsic": [[623.588, 0, 319.501], [0, 623.588, 239.545], [0, 0, 1]],
}


def create_checkpoint(directory: Path, size: str, seed: int = 0, max_shard_size: int | str = "5GB") -> None:
    """Write a checkpoint that works, but knows nothing. The same arguments give the same bytes.

    It is written beside ``directory`` and then moved there, so that a run that is killed leaves no half of one.

    :param directory: a new or empty folder.
    :param size: one of ``size_names()``.
    :param seed: seed of the random weights.
    :param max_shard_size: largest weight file, in bytes or like "5GB".
    :raises InputError: for an unknown size, a seed out of range, a folder that is not empty, or a disk that does not
        take it.
    """
    config = SpatialVlaConfig.from_dict(published_config(size))
    check_seed(seed)
    with new_folder(directory, _DTYPE.itemsize * sum(count_parameters(config).values())) as aside:
        save_model(random_network(lambda: SpatialVla(config), seed, _DTYPE), aside, max_shard_size)
        write_small_files(config, aside)


def write_small_files(config: SpatialVlaConfig, directory: Path) -> None:
    """Write all files of a new checkpoint except config.json and the weights."""
    (directory / "tokenizer.json").write_text(make_tokenizer(config.image_token_id), encoding="utf-8")
    for name, content in _small_files(config).items():
        (directory / name).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def count_parameters(config: SpatialVlaConfig) -> dict[str, int]:
    """Number of weights in the checkpoint, by the first part of the published tensor names."""
    counts: Counter[str] = Counter()
    for name, tensor in empty_model(config).state_dict().items():
        counts[published_name(name).split(".")[0]] += math.prod(tensor.shape)
    return dict(counts)


def _small_files(config: SpatialVlaConfig) -> dict[str, Mapping[str, Any]]:
    tokens = {number: token for token, number in SPECIAL_TOKENS.items()}
    special = {
        "bos_token": tokens[BOS],
        "eos_token": tokens[EOS],
        "pad_token": tokens[PAD],
        "unk_token": tokens[UNK],
        "additional_special_tokens": ["<image>"],
    }
    return {
        "processor_config.json": _processor_config(),
        "preprocessor_config.json": preprocessor_config(config.image_size, config.num_image_tokens),
        "tokenizer_config.json": {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "processor_class": PROCESSOR_CLASS,
            "add_bos_token": False,
            "add_eos_token": False,
            "clean_up_tokenization_spaces": False,
            **special,
        },
        "special_tokens_map.json": special,
    }


def _processor_config() -> dict[str, Any]:
    return {
        "processor_class": PROCESSOR_CLASS,
        **bins_from_gaussians(PUBLISHED_GAUSSIANS).to_config(),
        "intrinsic_config": {"default": _INTRINSICS},
        "min_sigma": 0.0,
        "num_obs_steps": 1,
        "obs_delta": 1,
        "statistics": {UNTRAINED_KEY: untrained_statistics().to_config()},
    }


PROCESSOR_CLASS = "SpatialVLAProcessor"


def preprocessor_config(size: int, num_image_tokens: int) -> dict[str, Any]:
    """Content of the published preprocessor_config.json: ``prepare_picture``, as `transformers` says it."""
    return {
        "image_processor_type": "SiglipImageProcessor",
        "processor_class": PROCESSOR_CLASS,
        "image_seq_length": num_image_tokens,
        "size": {"height": size, "width": size},
        "do_resize": True,
        "resample": int(Image.Resampling.BICUBIC),
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        # The network itself normalises.
        "do_normalize": False,
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
    }
