"""The model's configuration, read from and written as the published config.json."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from transformers import Gemma2Config, SiglipVisionConfig, ZoeDepthConfig

from stvla_ros.errors import InputError, reason_of
from stvla_ros.policy.checkpoints import read_json
from stvla_ros.policy.spatialvla.sizes import MODEL_TYPE
from stvla_ros.safe_files import check_network_sizes

# More tokens than any instruction and chunk take (prompt.py limits the instruction).
_MOST_TOKENS_AFTER_IMAGE = 256
TRACE_HEAD, EARLIER_HEAD = "trace_head", "earlier_head"
HEADS = (TRACE_HEAD, EARLIER_HEAD)
"""Parts that no published network has. Their names are the same in the network and in config.json."""


@dataclass(frozen=True)
class SpatialVlaConfig:
    """
    :param text: language model.
    :param vision: picture encoder.
    :param depth: depth network that runs when no depth is given.
    :param image_token_id: id of the token that marks the picture's places in a prompt.
    :param action_token_begin: id of the first action token; offset + ``action_token_begin`` = id.
    :param num_action_tokens: number of action tokens.
    :param patch_resolution: points a patch side of the Ego3D encoding (2: four points a patch).
    :param num_frequencies: sines and cosines per coordinate of the Ego3D encoding.
    :param published: config.json as it was read, so that nothing in it is lost when it is written again.
    :param trace_head: whether the network has a head for traces (``trace_head.py``), which no published one has.
    :param earlier_head: whether the network has a head for an earlier picture (``earlier_head.py``), which no published
        one has.
    """

    text: Gemma2Config
    vision: SiglipVisionConfig
    depth: ZoeDepthConfig
    image_token_id: int
    action_token_begin: int
    num_action_tokens: int
    patch_resolution: int
    num_frequencies: int
    published: Mapping[str, Any]
    trace_head: bool = False
    earlier_head: bool = False

    @property
    def image_size(self) -> int:
        """Side of the square picture and depth map, pixels."""
        return self.vision.image_size

    @property
    def num_image_tokens(self) -> int:
        return (self.vision.image_size // self.vision.patch_size) ** 2

    @classmethod
    def from_dict(cls, published: Mapping[str, Any], source: str = "config.json") -> "SpatialVlaConfig":
        """
        :param published: content of a config.json in the published layout.
        :param source: name of the file, for the error message.
        :raises InputError: for another model, a missing key, or values that do not belong together.
        """
        if published.get("model_type") != MODEL_TYPE:
            raise InputError(f"{source}: expected model_type {MODEL_TYPE!r}, got {published.get('model_type')!r}")
        for key in ("use_spatial_token", "use_vision_zoe"):
            if not published.get(key):
                raise InputError(f"{source}: expected {key}: true, got {published.get(key)!r}")
        check_network_sizes(source, published)
        try:
            text = Gemma2Config.from_dict(dict(published["text_config"]))
            vision = SiglipVisionConfig.from_dict(dict(published["vision_config"]))
            depth = ZoeDepthConfig.from_dict(dict(published["vision_zoe_config"]))
            config = cls(
                text=text,
                vision=vision,
                depth=depth,
                image_token_id=int(published["image_token_index"]),
                action_token_begin=int(published["action_token_begin_idx"]),
                num_action_tokens=int(published["spatial_token_num"]),
                patch_resolution=int(published["ego3d_patch_reso"]),
                num_frequencies=int(published["n_freqs"]),
                published=dict(published),
                **{head: published.get(head, False) for head in HEADS},
            )
            projection = published["vision_config"].get("projection_dim", text.hidden_size)
        except KeyError as error:
            raise InputError(f"{source}: expected the key {error.args[0]!r}, it is missing") from error
        except Exception as error:  # the configuration classes validate with exceptions of their own
            raise InputError(f"{source}: {reason_of(error)}") from error
        config._check(source, projection)
        # Only eager attention caps the logits, as Gemma 2 was trained.
        text._attn_implementation = "eager"
        return config

    def with_head(self, name: str, there: bool) -> "SpatialVlaConfig":
        """The same network with one of ``HEADS``, or without it."""
        published = {key: value for key, value in self.published.items() if key != name}
        return replace(self, published={**published, **({name: True} if there else {})}, **{name: there})

    @property
    def num_pictures(self) -> int:
        """Pictures of a sample: the newest, and an earlier one if there is a head for it."""
        return 2 if self.earlier_head else 1

    @property
    def num_cells(self) -> int:
        """Cells along a side of the picture; the depth is averaged over each."""
        return self.image_size // self.vision.patch_size * self.patch_resolution

    def _check(self, source: str, projection: int) -> None:
        counts = {
            "vision_config.image_size": self.vision.image_size,
            "vision_config.patch_size": self.vision.patch_size,
            "spatial_token_num": self.num_action_tokens,
            "ego3d_patch_reso": self.patch_resolution,
            "n_freqs": self.num_frequencies,
            "text_config.query_pre_attn_scalar": self.text.query_pre_attn_scalar,
            "text_config.vocab_size": self.text.vocab_size,
        }
        for key, value in counts.items():
            if not isinstance(value, int) or value < 1:
                raise InputError(f"{source}: expected {key} to be a whole number of at least 1, got {value!r}")
        if self.vision.image_size % self.vision.patch_size or self.vision.patch_size % self.patch_resolution:
            raise InputError(
                f"{source}: expected image_size to be a multiple of patch_size, and that of ego3d_patch_reso, got "
                f"{self.vision.image_size}, {self.vision.patch_size}, {self.patch_resolution}"
            )
        for head in HEADS:
            if not isinstance(there := getattr(self, head), bool):
                raise InputError(f"{source}: expected {head} to be true or false, got {there!r}")
        end = self.action_token_begin + self.num_action_tokens
        if self.action_token_begin < 0 or end > self.text.vocab_size:
            raise InputError(
                f"{source}: expected the action tokens inside the vocabulary of {self.text.vocab_size}, they are "
                f"{self.action_token_begin} to {end - 1}"
            )
        longest = self.num_image_tokens + _MOST_TOKENS_AFTER_IMAGE
        window = self.text.sliding_window or longest
        if not isinstance(window, int) or window < longest:
            raise InputError(
                f"{source}: expected text_config.sliding_window to hold every prompt, {longest} tokens, got "
                f"{self.text.sliding_window}"
            )
        known = {
            "text_config.hidden_activation": (self.text.hidden_activation, "gelu_pytorch_tanh"),
            "text_config.attention_bias": (self.text.attention_bias, False),
            "text_config.tie_word_embeddings": (self.text.tie_word_embeddings, False),
            "text_config.rope_parameters.rope_type": (self.text.rope_parameters["rope_type"], "default"),
            "vision_config.hidden_act": (self.vision.hidden_act, "gelu_pytorch_tanh"),
        }
        for key, (value, expected) in known.items():
            if value != expected:
                raise InputError(f"{source}: expected {key} {expected!r}, got {value!r}")
        if projection != self.text.hidden_size:
            raise InputError(
                f"{source}: expected vision_config.projection_dim to equal the text hidden_size "
                f"{self.text.hidden_size}, got {projection}"
            )

    @classmethod
    def read(cls, directory: Path) -> "SpatialVlaConfig":
        """:raises InputError: when the folder has no usable config.json."""
        return cls.from_dict(read_json(directory / "config.json"), str(directory / "config.json"))

    def write(self, directory: Path, dtype: str) -> None:
        """Write config.json; ``dtype`` (``bfloat16``…) is that of the weights beside it."""
        (directory / "config.json").write_text(json.dumps({**self.published, "torch_dtype": dtype}, indent=2) + "\n")
