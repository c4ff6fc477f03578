"""The model's sizes, as the content of config.json. Data only: nothing here builds a network."""

from typing import Any

from stvla_ros.errors import InputError

MODEL_TYPE = "st4vla"

# DiT-S, DiT-B, DiT-L: blocks, width, heads (published action model).
DIT_SIZES = {"DiT-S": (6, 384, 4), "DiT-B": (12, 768, 12), "DiT-L": (24, 1024, 16)}
OTHER_DIT = "DiT"
"""``action_model_type`` of any other size: ``num_layers`` and ``num_heads`` are then given beside it."""
# Sizes by the names on DINOv2's hub: width, blocks, heads.
DINO_SIZES = {
    "dinov2_vits14": (384, 12, 6),
    "dinov2_vitb14": (768, 12, 12),
    "dinov2_vitl14": (1024, 24, 16),
}
DINO_PATCH, DINO_IMAGE = 14, 518

# Prompt of the published configuration (internvla_cotrain_oxe.yaml), which the checkpoints have.
PUBLISHED_PROMPT = (
    "Your task is {instruction}. To identify the key objects for your task. Locate their bounding boxes in "
    "[x1,y1,x2,y2] format."
)
# Prompt of the paper (arXiv 2602.10109), which differs.
PAPER_PROMPT = "Your task is to {instruction}. Figure out how to execute it, then locate the key object needed."

# Special tokens in the order of their ids (Qwen2.5's tokenizer), after all other tokens.
SPECIAL_TOKENS = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|object_ref_start|>",
    "<|object_ref_end|>",
    "<|box_start|>",
    "<|box_end|>",
    "<|quad_start|>",
    "<|quad_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
# Number of embeddings, and the first special token's id: of the published model, and of a model with a new tokenizer
# (vocabulary.py).
PUBLISHED_VOCABULARY, PUBLISHED_SPECIAL = 151936, 151643
SMALL_VOCABULARY, SMALL_SPECIAL = 1024, 1000

_PUBLISHED_TEXT = {
    "hidden_size": 2048,
    "intermediate_size": 11008,
    "num_hidden_layers": 36,
    "num_attention_heads": 16,
    "num_key_value_heads": 2,
    "sections": [16, 24, 24],
}
_PUBLISHED_VISION = {
    "depth": 32,
    "hidden_size": 1280,
    "intermediate_size": 3420,
    "num_heads": 16,
    "fullatt_block_indexes": [7, 15, 23, 31],
}

# tiny: for tests. small: to be trained and run on two CPU cores. 4b: the published shape. All have the published names.
_SIZES: dict[str, dict[str, Any]] = {
    "tiny": {
        "text": {
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "sections": [2, 3, 3],
        },
        "vision": {
            "depth": 2,
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_heads": 2,
            "fullatt_block_indexes": [1],
        },
        "dino": (32, 2, 2),
        "queries": 8,
        "dit": (2, 48, 4),
        "chunk": 4,
    },
    "small": {
        "text": {
            "hidden_size": 192,
            "intermediate_size": 640,
            "num_hidden_layers": 4,
            "num_attention_heads": 6,
            "num_key_value_heads": 2,
            "sections": [4, 6, 6],
        },
        "vision": {
            "depth": 3,
            "hidden_size": 128,
            "intermediate_size": 344,
            "num_heads": 4,
            "fullatt_block_indexes": [2],
        },
        "dino": (128, 2, 2),
        "queries": 16,
        "dit": (4, 192, 4),
        "chunk": 8,
    },
    "4b": {
        "text": _PUBLISHED_TEXT,
        "vision": _PUBLISHED_VISION,
        "dino": "dinov2_vits14",
        "queries": 64,
        "dit": "DiT-B",
        "chunk": 16,
    },
}


STEPS, GUIDANCE = 10, 1.5
"""Number of sampler steps in the published evaluation."""


def size_names() -> tuple[str, ...]:
    return tuple(_SIZES)


def config_of_size(size: str) -> dict[str, Any]:
    """Content of the config.json of a model of this size.

    :raises InputError: for an unknown size.
    """
    if size not in _SIZES:
        raise InputError(f"size: expected one of {', '.join(_SIZES)}, got {size!r}")
    shape = _SIZES[size]
    text = shape["text"]
    layers, width, heads = DIT_SIZES[shape["dit"]] if isinstance(shape["dit"], str) else shape["dit"]
    action_model: dict[str, Any] = {
        "action_model_type": shape["dit"] if isinstance(shape["dit"], str) else OTHER_DIT,
        "action_hidden_dim": width,
        "action_dim": 7,
        "future_action_window_size": shape["chunk"] - 1,
        "past_action_window_size": 0,
    }
    if action_model["action_model_type"] == OTHER_DIT:
        action_model |= {"num_layers": layers, "num_heads": heads}
    dino: dict[str, Any] = {"dino_backbone": shape["dino"]}
    if not isinstance(shape["dino"], str):
        dino = dict(zip(("hidden_size", "num_hidden_layers", "num_attention_heads"), shape["dino"], strict=True))
    return {
        "model_type": MODEL_TYPE,
        "framework": {
            "qwenvl": {"vl_hidden_dim": text["hidden_size"]},
            "dino": dino,
            "layer_qformer": {
                "qformer_start_layer": text["num_hidden_layers"],
                "qformer_end_layer": text["num_hidden_layers"] + 1,
                "num_query_tokens": shape["queries"],
                "input_dim": text["hidden_size"],
                "ouptput_dim": width,  # the published spelling
                "grad_scale": 0.5,
            },
            "action_model": action_model,
        },
        "datasets": {"vla_data": {"CoT_prompt": PUBLISHED_PROMPT, "image_size": [224, 224]}},
        "vlm_config": _vlm_config(shape, size == "4b"),
    }


def _vlm_config(shape: dict[str, Any], published: bool) -> dict[str, Any]:
    """Content of the vision-language model's own config.json, in Qwen2.5-VL's layout of today."""
    text = {key: value for key, value in shape["text"].items() if key != "sections"}
    vocabulary, special = SMALL_VOCABULARY, SMALL_SPECIAL
    if published:
        vocabulary, special = PUBLISHED_VOCABULARY, PUBLISHED_SPECIAL
    ids = {token: special + number for number, token in enumerate(SPECIAL_TOKENS)}
    return {
        "model_type": "qwen2_5_vl",
        "vision_start_token_id": ids["<|vision_start|>"],
        "vision_end_token_id": ids["<|vision_end|>"],
        "image_token_id": ids["<|image_pad|>"],
        "video_token_id": ids["<|video_pad|>"],
        "tie_word_embeddings": True,
        "text_config": {
            "model_type": "qwen2_5_vl_text",
            **text,
            "vocab_size": vocabulary,
            "bos_token_id": ids["<|endoftext|>"],
            "eos_token_id": ids["<|im_end|>"],
            "max_position_embeddings": 128000,
            "rms_norm_eps": 1e-6,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 1_000_000.0,
                "mrope_section": shape["text"]["sections"],
            },
            "tie_word_embeddings": True,
        },
        "vision_config": {
            "model_type": "qwen2_5_vl_vision",
            **shape["vision"],
            "out_hidden_size": text["hidden_size"],
            "patch_size": 14,
            "spatial_merge_size": 2,
            "temporal_patch_size": 2,
            "window_size": 112,
            "tokens_per_second": 2,
        },
    }
