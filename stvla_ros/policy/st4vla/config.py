"""The model's configuration: the content of the config.yaml that the published code saves beside its weights, and the
shape of the vision-language model, which the published code keeps in a checkpoint of its own (``vlm_config``: its
config.json).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import Dinov2Config, Qwen2_5_VLConfig

from stvla_ros.errors import InputError, reason_of
from stvla_ros.policy.checkpoints import read_json
from stvla_ros.policy.st4vla.config_reader import ConfigReader, described
from stvla_ros.policy.st4vla.sizes import DINO_IMAGE, DINO_PATCH, DINO_SIZES, DIT_SIZES, MODEL_TYPE, OTHER_DIT
from stvla_ros.safe_files import check_network_sizes

# More than any network of this kind needs.
_MOST_QUERIES, _WIDEST, _LONGEST_CHUNK = 4096, 65_536, 1024
# The side of a picture must be a multiple of this: 64 of the vision-language model's tokens.
_LARGEST_PICTURE = 64 * 28
_ACTION = 7
MOST_VIEWS = 16
"""Pictures of one observation, at most."""


@dataclass(frozen=True)
class St4VlaConfig:
    """
    :param vlm: configuration of the vision-language model.
    :param dino: configuration of the second picture encoder.
    :param first_state, end_state: range of the language model's states that the queries read, first to end - 1. State 0
        is the embeddings, the last one is the state after the final norm.
    :param queries: number of query tokens, Q.
    :param query_heads: attention heads of the query transformer.
    :param width: width D of the query transformer and the diffusion transformer.
    :param blocks, heads: shape of the diffusion transformer: number of blocks, attention heads of each.
    :param chunk: number of actions in an answer, T.
    :param picture_size: side of the picture that the model sees, pixels.
    :param views: number of pictures in an observation, as the configuration says.
    :param prompt: prompt text with ``{instruction}`` in it; None: the instruction alone.
    :param mask_padding: whether the queries are kept from reading the padding. The published code lets them read it
        (docs/explanation).
    :param gradient_decay: factor of the gradient that flows from the actions into the vision-language model.
    :param published: content of config.json, so that nothing in it is lost when it is written again.
    """

    vlm: Qwen2_5_VLConfig
    dino: Dinov2Config
    first_state: int
    end_state: int
    queries: int
    query_heads: int
    width: int
    blocks: int
    heads: int
    chunk: int
    picture_size: int
    views: int
    prompt: str | None
    mask_padding: bool
    gradient_decay: float
    published: Mapping[str, Any]

    @property
    def states(self) -> int:
        """Number of the language model's states that are read."""
        return self.end_state - self.first_state

    @property
    def picture_tokens(self) -> int:
        """Number of places of one picture in the prompt."""
        vision = self.vlm.vision_config
        return (self.picture_size // (vision.patch_size * vision.spatial_merge_size)) ** 2

    @classmethod
    def read(cls, directory: Path) -> "St4VlaConfig":
        """:raises InputError: when the folder has no usable config.json."""
        return cls.from_dict(read_json(directory / "config.json"), str(directory / "config.json"))

    def write(self, directory: Path, dtype: str) -> None:
        """Write config.json; ``dtype`` (``bfloat16``…) is that of the vision-language model's weights beside it."""
        (directory / "config.json").write_text(json.dumps({**self.published, "torch_dtype": dtype}, indent=2) + "\n")

    @classmethod
    def from_dict(cls, published: Mapping[str, Any], source: str = "config.json") -> "St4VlaConfig":
        """
        :param published: content of the config.yaml that the published code saves, with ``vlm_config`` added: the
            content of the vision-language model's config.json. ``model_type``, if present, is ``st4vla``.
        :param source: name of the file, for the error message.
        :raises InputError: for another model, a missing key, or values that do not belong together.
        """
        if published.get("model_type", MODEL_TYPE) != MODEL_TYPE:
            raise InputError(f"{source}: expected model_type {MODEL_TYPE!r}, got {published.get('model_type')!r}")
        check_network_sizes(source, published)
        read = ConfigReader(published, source)
        vlm = _vlm(read.block("vlm_config"), source)
        text = vlm.text_config
        states = text.num_hidden_layers + 1
        first = read.whole("framework.layer_qformer.qformer_start_layer", 0, states - 1)
        end = read.whole("framework.layer_qformer.qformer_end_layer", first + 1, states)
        width = read.whole("framework.action_model.action_hidden_dim", 1, _WIDEST)
        blocks, heads = _dit_shape(read, width)
        read.expect("framework.action_model.action_dim", _ACTION, _ACTION)
        read.expect("framework.action_model.past_action_window_size", 0, 0)
        read.expect("framework.layer_qformer.input_dim", text.hidden_size, text.hidden_size)
        read.expect("framework.layer_qformer.ouptput_dim", width, width)
        query_heads = read.whole("framework.layer_qformer.num_heads", 1, width, default=8)
        if width % query_heads or width % heads:
            raise InputError(
                f"{source}: expected action_hidden_dim to be a multiple of the heads, got {width} and {query_heads} "
                f"(layer_qformer), {heads} (action_model)"
            )
        return cls(
            vlm=vlm,
            dino=_dino(read, source),
            first_state=first,
            end_state=end,
            queries=read.whole("framework.layer_qformer.num_query_tokens", 1, _MOST_QUERIES),
            query_heads=query_heads,
            width=width,
            blocks=blocks,
            heads=heads,
            chunk=read.whole("framework.action_model.future_action_window_size", 0, _LONGEST_CHUNK - 1) + 1,
            picture_size=_picture_size(read, vlm, source),
            views=_views(read, source),
            prompt=_prompt(read, source),
            mask_padding=read.truth("framework.layer_qformer.mask_padding", True),
            gradient_decay=read.share("framework.layer_qformer.grad_scale", 1.0),
            published={"model_type": MODEL_TYPE, **published},
        )


def _vlm(block: Mapping[str, Any], source: str) -> Qwen2_5_VLConfig:
    try:
        # A copy without shared parts: the class changes its argument.
        config = Qwen2_5_VLConfig.from_dict(json.loads(json.dumps(block)))
        text, vision = config.text_config, config.vision_config
        sizes = {
            "vocab_size": text.vocab_size,
            "hidden_size": text.hidden_size,
            "num_hidden_layers": text.num_hidden_layers,
            "num_attention_heads": text.num_attention_heads,
            "vision_config.depth": vision.depth,
            "vision_config.hidden_size": vision.hidden_size,
            "vision_config.num_heads": vision.num_heads,
        }
        sections = text.rope_parameters.get("mrope_section")
    except Exception as error:  # the configuration classes validate with exceptions of their own
        raise InputError(f"{source}: vlm_config: {reason_of(error)}") from error
    if block.get("model_type") != "qwen2_5_vl":
        raise InputError(f"{source}: expected vlm_config.model_type 'qwen2_5_vl', got {block.get('model_type')!r}")
    for name, value in sizes.items():
        if type(value) is not int or not 1 <= value <= 2_000_000:
            raise InputError(f"{source}: expected vlm_config.{name} of at least 1, got {described(value)}")
    if vision.depth > 512:
        raise InputError(f"{source}: expected vlm_config.vision_config.depth of at most 512, got {vision.depth}")
    known = {
        "vision_config.patch_size": (vision.patch_size, 14),
        "vision_config.spatial_merge_size": (vision.spatial_merge_size, 2),
        "vision_config.temporal_patch_size": (vision.temporal_patch_size, 2),
        "vision_config.in_channels": (vision.in_channels, 3),
        "vision_config.out_hidden_size": (vision.out_hidden_size, text.hidden_size),
    }
    for name, (value, expected) in known.items():
        if value != expected:
            raise InputError(f"{source}: expected vlm_config.{name} {expected}, got {described(value)}")
    unit = vision.patch_size * vision.spatial_merge_size
    if type(vision.window_size) is not int or vision.window_size < unit or vision.window_size % unit:
        raise InputError(
            f"{source}: expected vlm_config.vision_config.window_size to be a multiple of {unit}, got "
            f"{described(vision.window_size)}"
        )
    if vision.hidden_size % (4 * vision.num_heads):
        raise InputError(
            f"{source}: expected vlm_config.vision_config.hidden_size to be a multiple of 4 x num_heads, got "
            f"{vision.hidden_size} and {vision.num_heads}"
        )
    for name in ("image_token_id", "video_token_id", "vision_start_token_id", "vision_end_token_id"):
        token = getattr(config, name)
        if type(token) is not int or not 0 <= token < text.vocab_size:
            raise InputError(
                f"{source}: expected vlm_config.{name} from 0 to {text.vocab_size - 1}, got {described(token)}"
            )
    head = text.hidden_size // text.num_attention_heads
    if not _are_whole(sections) or 2 * sum(sections) != head:
        raise InputError(
            f"{source}: expected vlm_config's mrope_section of sum {head // 2}, half a head, got {described(sections)}"
        )
    return config


def _are_whole(values: Any) -> bool:
    return isinstance(values, list) and all(type(value) is int and value >= 0 for value in values)


def _dino(read: ConfigReader, source: str) -> Dinov2Config:
    name = read.get("framework.dino.dino_backbone")
    shape: tuple[int, ...]
    if name is None and read.get("framework.dino.hidden_size") is not None:
        keys = ("hidden_size", "num_hidden_layers", "num_attention_heads")
        shape = tuple(read.whole(f"framework.dino.{key}", 1, _WIDEST) for key in keys)
    else:
        name = "dinov2_vits14" if name is None else name
        if not isinstance(name, str) or name not in DINO_SIZES:
            raise InputError(
                f"{source}: expected framework.dino.dino_backbone to be one of {', '.join(DINO_SIZES)}, got "
                f"{described(name)}"
            )
        shape = DINO_SIZES[name]
    width, layers, heads = shape
    if width % heads:
        raise InputError(f"{source}: expected framework.dino.hidden_size to be a multiple of {heads} heads")
    return Dinov2Config(
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        image_size=DINO_IMAGE,
        patch_size=DINO_PATCH,
    )


def _dit_shape(read: ConfigReader, width: int) -> tuple[int, int]:
    """Blocks and heads."""
    kind = read.get("framework.action_model.action_model_type")
    if kind == OTHER_DIT:
        blocks = read.whole("framework.action_model.num_layers", 1, 512)
        return blocks, read.whole("framework.action_model.num_heads", 1, width)
    if not isinstance(kind, str) or kind not in DIT_SIZES:
        raise InputError(
            f"{read.source}: expected framework.action_model.action_model_type to be one of "
            f"{', '.join([*DIT_SIZES, OTHER_DIT])}, got {described(kind)}"
        )
    blocks, expected, heads = DIT_SIZES[kind]
    read.expect("framework.action_model.action_hidden_dim", expected, expected)
    return blocks, heads


def _picture_size(read: ConfigReader, vlm: Qwen2_5_VLConfig, source: str) -> int:
    name = "datasets.vla_data.image_size"
    size = read.get(name)
    if size is None:  # the LIBERO checkpoints' configuration says it here only
        name = "datasets.vla_data.default_image_resolution"
        size = read.get(name, [3, 224, 224])
        size = size[1:] if isinstance(size, list) else size
    unit = vlm.vision_config.patch_size * vlm.vision_config.spatial_merge_size
    if (
        not isinstance(size, list)
        or len(size) != 2
        or type(size[0]) is not int
        or size[0] != size[1]
        or not unit <= size[0] <= _LARGEST_PICTURE
        or size[0] % unit
    ):
        raise InputError(
            f"{source}: expected {name} to be a square of a multiple of {unit} pixels, at most {_LARGEST_PICTURE}, got "
            f"{described(size)}"
        )
    return size[0]


def _views(read: ConfigReader, source: str) -> int:
    name = "datasets.vla_data.obs"
    names = read.get(name, ["image_0"])
    if not isinstance(names, list) or not 1 <= len(names) <= MOST_VIEWS:
        raise InputError(
            f"{source}: expected {name} to be a list of 1 to {MOST_VIEWS} pictures, got {described(names)}"
        )
    return len(names)


def _prompt(read: ConfigReader, source: str) -> str | None:
    name = "datasets.vla_data.CoT_prompt"
    prompt = read.get(name)
    if prompt is not None and (not isinstance(prompt, str) or "{instruction}" not in prompt or len(prompt) > 4000):
        raise InputError(f"{source}: expected {name} to be a text with {{instruction}}, got {described(prompt)}")
    return prompt
