"""The model's sizes, as the content of config.json. Data only: nothing here builds a network."""

from typing import Any

from stvla_ros.errors import InputError

MODEL_TYPE = "spatialvla"
PROCESSOR_CONFIG = "processor_config.json"
"""Name of a checkpoint's file with action bins, statistics and default intrinsics."""
# 16 theta x 32 phi x 8 r for the translation, 16^3 for the rotation, close and open (published action_config).
NUM_ACTION_TOKENS = 16 * 32 * 8 + 16**3 + 2
LONGEST_EARLIER_S = 60.0
"""Largest age of an earlier picture (earlier_head.py) in seconds."""
PAD, EOS, BOS, UNK = 0, 1, 2, 3

# Ids below the image token: as many as the tokenizer of a new checkpoint has, or as the published one has.
SMALL_TEXT_VOCABULARY = 512
PUBLISHED_TEXT_VOCABULARY = 257152

_ACTIVATION = "gelu_pytorch_tanh"

# Metric heads for rooms and streets, as in Intel/zoedepth-nyu-kitti, the published depth network.
_METRIC_HEADS = (
    {"name": "nyu", "min_depth": 1e-3, "max_depth": 10.0},
    {"name": "kitti", "min_depth": 1e-3, "max_depth": 80.0},
)


def _text(hidden: int, layers: int, intermediate: int, heads: int, kv_heads: int, head_dim: int) -> dict[str, Any]:
    return {
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "intermediate_size": intermediate,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "head_dim": head_dim,
        "query_pre_attn_scalar": head_dim,
    }


def _vision(hidden: int, layers: int, intermediate: int, heads: int) -> dict[str, Any]:
    return {
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "intermediate_size": intermediate,
        "num_attention_heads": heads,
    }


def _depth(
    hidden: int, layers: int, heads: int, neck: list[int], fusion: int, embedding: int, bins: int, routing: int
) -> dict[str, Any]:
    """
    :param neck: channels of the four maps that leave the backbone.
    :param fusion: channels of the fused map and of the metric heads' input.
    :param embedding: width of the depth bins' embedding.
    :param bins: depth bins of a metric head; they are evaluated at each of 384x384 pixels.
    :param routing: width inside the layers that choose between the metric heads. Their number and outer width are
        constants of transformers' ZoeDepth.
    """
    return {
        "neck_hidden_sizes": neck,
        "fusion_hidden_size": fusion,
        "bottleneck_features": fusion,
        "bin_embedding_dim": embedding,
        "num_relative_features": max(8, fusion // 8),
        "bin_configurations": [{**head, "n_bins": bins} for head in _METRIC_HEADS],
        "num_patch_transformer_layers": 4,
        "patch_transformer_hidden_size": 128,
        "patch_transformer_num_attention_heads": 4,
        "patch_transformer_intermediate_size": routing,
        "backbone_config": {
            "hidden_size": hidden,
            "num_hidden_layers": layers,
            "num_attention_heads": heads,
            "intermediate_size": 4 * hidden,
            "out_features": [f"stage{layers * quarter // 4}" for quarter in (1, 2, 3, 4)],
        },
    }


_TINY_DEPTH = _depth(hidden=32, layers=4, heads=2, neck=[8, 16, 32, 32], fusion=16, embedding=16, bins=8, routing=32)

# tiny: for tests. small: to be trained and run on two CPU cores; its folder is under 20 MB. medium: for benchmarks on a
# CPU, with the published vocabulary so that reading the head costs as much as in the published model. 4b: the published
# shape. All have the published tensor names. small has a minimal depth network of its own (depth is an input here), and
# its patches are twice as large (64 tokens instead of 256): on two cores it trains 3.3 times as fast, which matters
# more than finer patches when there are hours and not weeks. Leaving out the soft cap of attention makes it a tenth
# faster.
_IMAGE_SIZE = 224
_SIZES: dict[str, dict[str, Any]] = {
    "tiny": {
        "vocabulary": SMALL_TEXT_VOCABULARY,
        "text": _text(hidden=64, layers=2, intermediate=128, heads=2, kv_heads=1, head_dim=32),
        "vision": _vision(hidden=64, layers=2, intermediate=128, heads=2),
        "depth": _TINY_DEPTH,
    },
    "small": {
        "vocabulary": SMALL_TEXT_VOCABULARY,
        "text": _text(hidden=192, layers=4, intermediate=640, heads=4, kv_heads=2, head_dim=48)
        | {"attn_logit_softcapping": None},
        "vision": _vision(hidden=192, layers=4, intermediate=768, heads=3) | {"patch_size": 28},
        "points_a_side": 4,
        "depth": _TINY_DEPTH,
    },
    "medium": {
        "vocabulary": PUBLISHED_TEXT_VOCABULARY,
        "text": _text(hidden=512, layers=8, intermediate=2048, heads=8, kv_heads=4, head_dim=64),
        "vision": _vision(hidden=384, layers=6, intermediate=1536, heads=6),
        "depth": _depth(
            hidden=192, layers=8, heads=6, neck=[48, 96, 192, 192], fusion=64, embedding=64, bins=64, routing=256
        ),
    },
    "4b": {
        "vocabulary": PUBLISHED_TEXT_VOCABULARY,
        "text": _text(hidden=2304, layers=26, intermediate=9216, heads=8, kv_heads=4, head_dim=256),
        "vision": _vision(hidden=1152, layers=27, intermediate=4304, heads=16),
        "depth": _depth(
            hidden=1024,
            layers=24,
            heads=16,
            neck=[256, 512, 1024, 1024],
            fusion=256,
            embedding=128,
            bins=64,
            routing=1024,
        ),
    },
}


def size_names() -> tuple[str, ...]:
    return tuple(_SIZES)


def published_config(size: str) -> dict[str, Any]:
    """Content of the config.json of a model of this size, in the published layout.

    :raises InputError: for an unknown size.
    """
    if size not in _SIZES:
        raise InputError(f"size: expected one of {', '.join(_SIZES)}, got {size!r}")
    shape = _SIZES[size]
    image_token = shape["vocabulary"]
    vocabulary = image_token + 1 + NUM_ACTION_TOKENS
    special = {"bos_token_id": BOS, "eos_token_id": EOS, "pad_token_id": PAD}
    hidden = shape["text"]["hidden_size"]
    image_tokens = (_IMAGE_SIZE // shape["vision"].get("patch_size", 14)) ** 2
    return {
        "architectures": ["SpatialVLAForConditionalGeneration"],
        "model_type": "spatialvla",
        **special,
        "image_token_index": image_token,
        "action_token_begin_idx": image_token + 1,
        "spatial_token_num": NUM_ACTION_TOKENS,
        "use_spatial_token": True,
        "use_vision_zoe": True,
        "ego3d_patch_reso": shape.get("points_a_side", 2),
        "n_freqs": 8,
        "_vocab_size": vocabulary,
        "projection_dim": hidden,
        "text_config": {
            "model_type": "gemma2",
            **special,
            "attn_logit_softcapping": 50.0,
            **shape["text"],
            "vocab_size": vocabulary,
            "num_image_tokens": image_tokens,
            "hidden_activation": _ACTIVATION,
            "final_logit_softcapping": 30.0,
            "sliding_window": 4096,
            "tie_word_embeddings": False,
        },
        "vision_config": {
            "model_type": "siglip_vision_model",
            "patch_size": 14,
            **shape["vision"],
            "projection_dim": hidden,
            "image_size": _IMAGE_SIZE,
            "num_image_tokens": image_tokens,
            "hidden_act": _ACTIVATION,
            "vision_use_head": False,
        },
        "vision_zoe_config": _depth_config(shape["depth"]),
    }


def _depth_config(shape: dict[str, Any]) -> dict[str, Any]:
    return {
        "model_type": "zoedepth",
        **shape,
        "bin_centers_type": "softplus",
        "backbone_config": {
            "model_type": "beit",
            **shape["backbone_config"],
            "image_size": 384,
            "patch_size": 16,
            "use_relative_position_bias": True,
            "reshape_hidden_states": False,
        },
    }
