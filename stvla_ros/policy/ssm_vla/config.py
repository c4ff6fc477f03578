"""Shape of the networks: config.json of a checkpoint after Farsighted-LAM / SSM-VLA."""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from stvla_ros.errors import InputError
from stvla_ros.policy.checkpoints import read_json
from stvla_ros.policy.ssm_vla.sizes import MODEL_TYPE, TEXT_TOKENS, config_of_size, policy_of_size
from stvla_ros.settings import build

LAM, POLICY = "lam", "policy"
"""Blocks of config.json, and first parts of the tensors' names: one checkpoint holds both, or the first alone."""

Encoder = Literal["stem", "small", "dinov2"]
Depth = Literal["both", "target", "none"]
_LARGEST_PICTURE, _WIDEST, _MOST_LAYERS, _MOST_QUERIES, _MOST_CODES = 1024, 8192, 64, 256, 65_536
_MOST_KEYFRAMES, _LONGEST_S = 16, 60.0
LONGEST_CHUNK = 32
_LARGEST_VOCABULARY, _MOST_WORDS = 300_000, 1024
Block = TypeVar("Block")


@dataclass(frozen=True)
class LamConfig:
    """Shape of the latent action model. S = picture_size, P = (S / patch)², T = len(keyframes_s), Q = queries.

    :param picture_size: side of the pictures that are rebuilt, S, pixels.
    :param patch: side of a patch, pixels.
    :param width: width of the tokens of encoder and decoder, D.
    :param heads: heads of the attention.
    :param encoder_layers, decoder_layers: number of blocks in encoder and decoder.
    :param queries: number of codes of each keyframe, Q.
    :param keyframes_s: times of the keyframes, seconds after the current frame, increasing.
    :param quantiser: kind of the codes. ``vq``: each code is the nearest of ``codes`` vectors; ``none``: the numbers
        themselves, with noise in training.
    :param codes: number of vectors in the codebook.
    :param code_width: number of components of a code, C.
    :param encoder: part that makes tokens of a picture: a ``stem`` trained with the model; ``small``, the frozen
        picture encoder with Ego3D of a SpatialVLA checkpoint; ``dinov2``, a frozen DINOv2.
    :param encoder_checkpoint: folder, name or hub id of the frozen encoder; empty for a stem.
    :param encoder_width: width of its tokens; of a stem D.
    :param encoder_fingerprint: fingerprint of its weights, which are not stored here again; empty until it was loaded
        once.
    :param depth: use of the depth. ``both``: seen and rebuilt; ``target``: only rebuilt; ``none``: neither.
    :raises InputError: naming the key that cannot be used.
    """

    picture_size: int = 112
    patch: int = 14
    width: int = 160
    heads: int = 4
    encoder_layers: int = 4
    decoder_layers: int = 4
    queries: int = 4
    keyframes_s: tuple[float, ...] = (0.2, 0.8, 2.4)
    quantiser: Literal["vq", "none"] = "vq"
    codes: int = 32
    code_width: int = 16
    encoder: Encoder = "stem"
    encoder_checkpoint: str = ""
    encoder_width: int = 160
    encoder_fingerprint: str = ""
    depth: Depth = "both"

    def __post_init__(self) -> None:
        limits = {
            "picture_size": (8, _LARGEST_PICTURE),
            "patch": (2, self.picture_size),
            "width": (2, _WIDEST),
            "heads": (1, self.width),
            "encoder_layers": (1, _MOST_LAYERS),
            "decoder_layers": (1, _MOST_LAYERS),
            "queries": (1, _MOST_QUERIES),
            "codes": (2, _MOST_CODES),
            "code_width": (1, _WIDEST),
            "encoder_width": (1, _WIDEST),
        }
        for name, (low, high) in limits.items():
            if not low <= (value := getattr(self, name)) <= high:
                raise InputError(f"{name}: expected a whole number from {low} to {high}, got {value}")
        if self.picture_size % self.patch:
            raise InputError(f"patch: expected a divisor of picture_size {self.picture_size}, got {self.patch}")
        if self.width % self.heads or self.width % 2:
            raise InputError(f"heads: expected a divisor of an even width, got {self.heads} of {self.width}")
        check_keyframes("keyframes_s", self.keyframes_s)
        for name, allowed in {
            "quantiser": ("vq", "none"),
            "encoder": ("stem", "small", "dinov2"),
            "depth": ("both", "target", "none"),
        }.items():
            if getattr(self, name) not in allowed:
                raise InputError(f"{name}: expected one of {', '.join(allowed)}, got {getattr(self, name)!r}")
        if self.encoder == "stem" and self.encoder_width != self.width:
            raise InputError(f"encoder_width: expected {self.width}, the stem's width, got {self.encoder_width}")
        if (self.encoder == "stem") != (not self.encoder_checkpoint):
            raise InputError(
                f"encoder_checkpoint: expected {'none for a stem' if self.encoder == 'stem' else 'one'}, got "
                f"{self.encoder_checkpoint!r}"
            )

    @property
    def patches(self) -> int:
        """Number of patches in a picture, P."""
        return (self.picture_size // self.patch) ** 2

    @property
    def sees_depth(self) -> bool:
        return self.depth == "both"

    @property
    def rebuilds_depth(self) -> bool:
        return self.depth != "none"


def check_keyframes(name: str, seconds: tuple[float, ...]) -> None:
    """:raises InputError: unless these are increasing seconds above 0."""
    rising = all(before < after for before, after in zip((0.0, *seconds), seconds, strict=False))
    if not 1 <= len(seconds) <= _MOST_KEYFRAMES or not rising or seconds[-1] > _LONGEST_S:
        raise InputError(
            f"{name}: expected 1 to {_MOST_KEYFRAMES} increasing seconds above 0 and up to {_LONGEST_S:g}, got "
            f"{', '.join(f'{each:g}' for each in seconds) or 'none'}"
        )


@dataclass(frozen=True)
class PolicyConfig:
    """Shape of the policy. Pictures, patches, keyframes and codes are those of its latent action model.

    :param frame_size: side that pictures first come to, pixels; they are then brought to the side S that is seen.
    :param before_s: age of the earlier picture, seconds.
    :param ahead_s: time of the predicted picture, seconds after the current one: one of the keyframes.
    :param width: width of the tokens, W.
    :param heads: heads of the attention.
    :param layers: number of blocks.
    :param vision_layers: number of blocks that make the predicted picture.
    :param action_queries: number of queries whose states tell the flow head what to do, A.
    :param chunk: number of actions in a chunk, K.
    :param flow_width: width of the flow head's tokens, F.
    :param flow_heads: heads of its attention.
    :param flow_layers: number of its blocks.
    :param vocabulary: number of the words' tokens.
    :param most_words: most tokens of an instruction.
    :raises InputError: naming the key that cannot be used.
    """

    frame_size: int = 112
    before_s: float = 1.0
    ahead_s: float = 0.8
    width: int = 256
    heads: int = 8
    layers: int = 8
    vision_layers: int = 2
    action_queries: int = 4
    chunk: int = 8
    flow_width: int = 192
    flow_heads: int = 4
    flow_layers: int = 4
    vocabulary: int = TEXT_TOKENS
    most_words: int = 64

    def __post_init__(self) -> None:
        limits = {
            "frame_size": (8, _LARGEST_PICTURE),
            "width": (2, _WIDEST),
            "heads": (1, self.width),
            "layers": (1, _MOST_LAYERS),
            "vision_layers": (1, _MOST_LAYERS),
            "action_queries": (1, _MOST_QUERIES),
            "chunk": (1, LONGEST_CHUNK),
            "flow_width": (2, _WIDEST),
            "flow_heads": (1, self.flow_width),
            "flow_layers": (1, _MOST_LAYERS),
            "vocabulary": (1, _LARGEST_VOCABULARY),
            "most_words": (1, _MOST_WORDS),
        }
        for name, (low, high) in limits.items():
            if not low <= (value := getattr(self, name)) <= high:
                raise InputError(f"{name}: expected a whole number from {low} to {high}, got {value}")
        for name, width in (("heads", self.width), ("flow_heads", self.flow_width)):
            if width % getattr(self, name) or width % 2:
                raise InputError(f"{name}: expected a divisor of an even width, got {getattr(self, name)} of {width}")
        check_seconds("before_s", self.before_s)
        check_seconds("ahead_s", self.ahead_s)

    def check_fits(self, lam: LamConfig) -> None:
        """:raises InputError: for a latent action model without a keyframe at the predicted picture's time."""
        if self.ahead_s not in lam.keyframes_s:
            listed = ", ".join(f"{each:g}" for each in lam.keyframes_s)
            raise InputError(f"ahead_s: expected one of the keyframes at {listed} s, got {self.ahead_s:g}")


def check_seconds(name: str, seconds: float) -> None:
    """:raises InputError: unless these are seconds above 0."""
    if not 0.0 < seconds <= _LONGEST_S:
        raise InputError(f"{name}: expected seconds above 0 and up to {_LONGEST_S:g}, got {seconds:g}")


def new_lam_config(size: str) -> LamConfig:
    """The configuration of a new latent action model.

    :raises InputError: for an unknown size.
    """
    return LamConfig(**config_of_size(size))


def new_policy_config(size: str, lam: LamConfig, frame_size: int, **changes: Any) -> PolicyConfig:
    """The configuration of a new policy.

    :param size: one of ``policy_size_names()``.
    :param lam: configuration of its latent action model.
    :param frame_size: see ``PolicyConfig``.
    :param changes: values in place of the size's.
    :raises InputError: for an unknown size, and for values that do not fit.
    """
    config = PolicyConfig(**{**policy_of_size(size), "frame_size": frame_size, **changes})
    config.check_fits(lam)
    return config


def read_lam_config(directory: Path) -> LamConfig:
    """:raises InputError: when the folder has no usable config.json."""
    return _read_block(directory, LAM, LamConfig)


def read_policy_config(directory: Path) -> PolicyConfig | None:
    """
    :returns: None for a latent action model without a policy.
    :raises InputError: when the folder has no usable config.json.
    """
    lam = read_lam_config(directory)
    if POLICY not in read_json(directory / "config.json"):
        return None
    policy = _read_block(directory, POLICY, PolicyConfig)
    try:
        policy.check_fits(lam)
    except InputError as error:
        raise InputError(f"{directory / 'config.json'}: {POLICY}.{error}") from None
    return policy


def no_policy(checkpoint: str) -> str:
    """The text of an error: a checkpoint is to act, and cannot. :param checkpoint: name of the checkpoint."""
    return (
        f"checkpoint {checkpoint}: expected a policy, it is a latent action model alone: it tells what happened "
        "between pictures, and cannot act; stvla train --config config/train/ssm_vla.yaml makes a policy of it"
    )


def _read_block(directory: Path, name: str, kind: type[Block]) -> Block:
    file = directory / "config.json"
    content = read_json(file)
    if content.get("model_type") != MODEL_TYPE or not isinstance(content.get(name), Mapping):
        raise InputError(f"{file}: expected model_type {MODEL_TYPE!r} with a block {name}")
    try:
        return build(kind, content[name], f"{name}.")
    except InputError as error:
        raise InputError(f"{file}: {error}") from None


def write_config(directory: Path, lam: LamConfig, policy: PolicyConfig | None = None) -> None:
    """Write config.json."""
    content = {"model_type": MODEL_TYPE, LAM: dataclasses.asdict(lam)}
    if policy is not None:
        content[POLICY] = dataclasses.asdict(policy)
    (directory / "config.json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
