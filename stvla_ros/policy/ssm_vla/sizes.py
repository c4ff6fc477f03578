"""The model's sizes. Data only: nothing here builds a network."""

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


def size_names() -> tuple[str, ...]:
    return tuple(_SIZES)


def config_of_size(size: str) -> dict[str, Any]:
    """The block ``lam`` of the config.json of a model of this size, as far as it is not the usual one.

    :raises InputError: for an unknown size.
    """
    if size not in _SIZES:
        raise InputError(f"size: expected one of {', '.join(_SIZES)}, got {size!r}")
    return _SIZES[size]
