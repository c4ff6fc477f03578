"""The sizes of both parts. Data only: nothing here builds a network."""

from typing import Any

from stvla_ros.errors import InputError

MODEL_TYPE = "ssm_vla"

# tiny: for tests. small: for two processor cores. calvin: the published model's shapes (facts: 224², 256 patches, 16
# and 16 blocks of 768, 4 codes of 32 x 128, a frame every 0.1 s), on the encoder that it has.
_SIZES: dict[str, dict[str, Any]] = {
    "tiny": {
        "picture_size": 32,
        "patch": 8,
        "width": 48,
        "heads": 2,
        "encoder_layers": 2,
        "decoder_layers": 2,
        "encoder_width": 48,
    },
    "small": {},
    "calvin": {
        "picture_size": 224,
        "width": 768,
        "heads": 16,
        "encoder_layers": 16,
        "decoder_layers": 16,
        "keyframes_s": (0.1, 0.2, 0.3),
        "code_width": 128,
        "encoder": "dinov2",
        "encoder_checkpoint": "facebook/dinov2-with-registers-base",
        "encoder_width": 768,
    },
}


# The policy's, as far as they are not the usual ones. There is none of the published shapes: they are not known.
_POLICY_SIZES: dict[str, dict[str, Any]] = {
    "tiny": {
        "width": 48,
        "heads": 2,
        "layers": 2,
        "vision_layers": 1,
        "flow_width": 32,
        "flow_heads": 2,
        "flow_layers": 2,
    },
    "small": {},
}

STEPS = 10
"""Usual number of the sampler's steps."""
MOST_STEPS = 100
TEXT_TOKENS = 512
"""Tokens that a new checkpoint's words are made of."""


def size_names() -> tuple[str, ...]:
    return tuple(_SIZES)


def policy_size_names() -> tuple[str, ...]:
    """The sizes in which there is a policy."""
    return tuple(_POLICY_SIZES)


def config_of_size(size: str) -> dict[str, Any]:
    """The block ``lam`` of the config.json of a model of this size, as far as it is not the usual one.

    :raises InputError: for an unknown size.
    """
    if size not in _SIZES:
        raise InputError(f"size: expected one of {', '.join(_SIZES)}, got {size!r}")
    return _SIZES[size]


def policy_of_size(size: str) -> dict[str, Any]:
    """The block ``policy``, likewise.

    :raises InputError: for a size in which there is no policy.
    """
    if size not in _POLICY_SIZES:
        raise InputError(f"policy_size: expected one of {', '.join(_POLICY_SIZES)}, got {size!r}")
    return _POLICY_SIZES[size]
