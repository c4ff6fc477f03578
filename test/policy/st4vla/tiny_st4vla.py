"""Writes a complete ST4VLA run of tiny sizes as the published code does: weights as a pickle, configuration,
statistics, and beside it the vision-language model that the run was started from.

It uses nothing of ``stvla_ros``: what a reader must accept is stated here a second time, independently. Weights come
from NumPy generators seeded by the tensor's name, so that whoever reads the run, the published code included, computes
with the same numbers (``data/st4vla_reference.npz``).
"""

import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import yaml
from safetensors.torch import save_file
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

TEXT, TEXT_LAYERS, TEXT_HEADS, KV_HEADS, TEXT_MLP = 32, 3, 2, 1, 48
VISION, VISION_BLOCKS, VISION_HEADS, VISION_MLP = 32, 3, 2, 40
DINO, DINO_BLOCKS, DINO_HEADS = 24, 2, 2
QUERIES, WIDTH, BLOCKS, HEADS, CHUNK = 8, 48, 2, 4, 6
FIRST_STATE, END_STATE = 2, 4
VLM = "qwen_vl_interface.model"
STEPS = 50

PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_SPECIAL = (
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|object_ref_start|>", "<|object_ref_end|>", "<|box_start|>",
    "<|box_end|>", "<|quad_start|>", "<|quad_end|>", "<|vision_start|>", "<|vision_end|>", "<|vision_pad|>",
    "<|image_pad|>", "<|video_pad|>",
)  # fmt: skip
_WORDS = (
    "system user assistant You are a helpful Your task is To identify the key objects for your Locate their bounding "
    "boxes in format put spoon on towel carrot plate stack green block yellow"
).split()


def _pieces() -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Bytes, and every word, alone and behind a space, as a chain of merges."""
    names = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = [each for word in _WORDS for each in (word, "Ġ" + word)]
    chains = ((word[: end - 1], word[end - 1]) for word in words for end in range(2, len(word) + 1))
    merges = list(dict.fromkeys(chains))
    names += [left + right for left, right in merges]
    return {name: number for number, name in enumerate(names)}, merges


TOKENS = {name: len(_pieces()[0]) + number for number, name in enumerate(_SPECIAL)}
VOCABULARY = len(_pieces()[0]) + len(_SPECIAL) + 10  # as published: a few embeddings more than tokens


def tokenizer() -> Tokenizer:
    """Byte-level BPE in Qwen2.5's form."""
    made = Tokenizer(models.BPE(*_pieces()))
    made.normalizer = normalizers.NFC()
    split = pre_tokenizers.Split(Regex(PATTERN), "isolated")
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    made.decoder = decoders.ByteLevel()
    made.post_processor = processors.ByteLevel(trim_offsets=False)
    made.add_special_tokens([AddedToken(name, normalized=False, special=True) for name in _SPECIAL])
    return made


def vlm_config(dtype: str = "float32") -> dict:
    """config.json of the vision-language model, in the layout of the published ones (before transformers 4.52)."""
    return {
        "architectures": ["Qwen2_5_VLForConditionalGeneration"], "model_type": "qwen2_5_vl",
        "attention_dropout": 0.0, "bos_token_id": TOKENS["<|endoftext|>"], "eos_token_id": TOKENS["<|im_end|>"],
        "vision_start_token_id": TOKENS["<|vision_start|>"], "vision_end_token_id": TOKENS["<|vision_end|>"],
        "vision_token_id": TOKENS["<|vision_pad|>"], "image_token_id": TOKENS["<|image_pad|>"],
        "video_token_id": TOKENS["<|video_pad|>"], "hidden_act": "silu", "hidden_size": TEXT,
        "initializer_range": 0.02, "intermediate_size": TEXT_MLP, "max_position_embeddings": 128000,
        "max_window_layers": 70, "num_attention_heads": TEXT_HEADS, "num_hidden_layers": TEXT_LAYERS,
        "num_key_value_heads": KV_HEADS, "rms_norm_eps": 1e-06, "rope_theta": 1000000.0, "sliding_window": 32768,
        "tie_word_embeddings": True, "torch_dtype": dtype, "use_cache": True, "use_sliding_window": False,
        "vocab_size": VOCABULARY, "rope_scaling": {"type": "mrope", "mrope_section": [2, 3, 3]},
        "vision_config": {
            "depth": VISION_BLOCKS, "hidden_act": "silu", "hidden_size": VISION, "intermediate_size": VISION_MLP,
            "num_heads": VISION_HEADS, "in_chans": 3, "out_hidden_size": TEXT, "patch_size": 14,
            "spatial_merge_size": 2, "spatial_patch_size": 14, "window_size": 112, "fullatt_block_indexes": [1],
            "tokens_per_second": 2, "temporal_patch_size": 2,
        },
    }  # fmt: skip


PROMPT = (
    "Your task is {instruction}. To identify the key objects for your task. Locate their bounding boxes in "
    "[x1,y1,x2,y2] format."
)


def run_config() -> dict:
    """config.yaml as the published training saves it; what is not of the published sizes is told beside them."""
    return {
        "run_id": "tiny", "run_root_dir": "results/Checkpoints", "seed": 42,
        "framework": {
            "framework_py": "InternVLA-M1",
            "qwenvl": {"base_vlm": "./playground/Pretrained_models/tiny", "vl_hidden_dim": TEXT},
            "dino": {"hidden_size": DINO, "num_hidden_layers": DINO_BLOCKS, "num_attention_heads": DINO_HEADS},
            "layer_qformer": {
                "qformer_end_layer": END_STATE, "qformer_start_layer": FIRST_STATE, "num_query_tokens": QUERIES,
                "input_dim": TEXT, "ouptput_dim": WIDTH, "grad_scale": 0.5,
            },
            "action_model": {
                "action_model_type": "DiT", "num_layers": BLOCKS, "num_heads": HEADS, "action_hidden_dim": WIDTH,
                "action_dim": 7, "use_ema": False, "future_action_window_size": CHUNK - 1,
                "past_action_window_size": 0, "repeated_diffusion_steps": 8,
            },
        },
        "datasets": {
            "vla_data": {"CoT_prompt": PROMPT, "obs": ["image_0"], "image_size": [224, 224], "data_mix": "tiny"},
        },
        "trainer": {"repeated_diffusion_steps": 4, "pretrained_checkpoint": None},
    }  # fmt: skip


def config() -> dict:
    """The two together: what the converted checkpoint says."""
    return {"model_type": "st4vla", **run_config(), "vlm_config": vlm_config()}


def statistics() -> dict:
    """dataset_statistics.json, by embodiment."""
    mask = [True] * 6 + [False]
    bridge = {
        "q01": [-0.028, -0.041, -0.026, -0.08, -0.092, -0.207, 0.0],
        "q99": [0.028, 0.040, 0.040, 0.082, 0.078, 0.203, 1.0],
        "mask": mask,
    }
    fractal = {
        "q01": [-0.22, -0.14, -0.22, -0.4, -0.29, -0.31, 0.0],
        "q99": [0.17, 0.15, 0.22, 0.34, 0.36, 0.30, 1.0],
        "mask": mask,
    }
    return {
        key: {"action": action, "state": {"mean": [0.0]}, "num_transitions": 1000, "num_trajectories": 20}
        for key, action in {"oxe_bridge": bridge, "oxe_rt1": fractal}.items()
    }


def affine(name: str, *shape: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield f"{name}.weight", shape
    yield f"{name}.bias", shape[:1]


@dataclass(frozen=True)
class Sizes:
    """Widths, layers and numbers that shapes follow from."""

    text: int
    text_layers: int
    text_heads: int
    kv_heads: int
    text_mlp: int
    vocabulary: int
    vision: int
    vision_blocks: int
    vision_mlp: int
    dino: int
    dino_blocks: int
    queries: int
    width: int
    states: int
    blocks: int
    chunk: int


TINY = Sizes(
    TEXT, TEXT_LAYERS, TEXT_HEADS, KV_HEADS, TEXT_MLP, VOCABULARY, VISION, VISION_BLOCKS, VISION_MLP, DINO, DINO_BLOCKS,
    QUERIES, WIDTH, END_STATE - FIRST_STATE, BLOCKS, CHUNK,
)  # fmt: skip
# Qwen2.5-VL-3B, DINOv2 ViT-S/14, DiT-B, one state read: the published policies.
PUBLISHED = Sizes(2048, 36, 16, 2, 11008, 151936, 1280, 32, 3420, 384, 12, 64, 768, 1, 12, 16)


def shapes(of: Sizes = TINY) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Every tensor of a run by its published name."""
    visual = f"{VLM}.model.visual"
    yield f"{visual}.patch_embed.proj.weight", (of.vision, 3, 2, 14, 14)
    for n in range(of.vision_blocks):
        block = f"{visual}.blocks.{n}"
        yield from ((f"{block}.norm{i}.weight", (of.vision,)) for i in (1, 2))
        yield from affine(f"{block}.attn.qkv", 3 * of.vision, of.vision)
        yield from affine(f"{block}.attn.proj", of.vision, of.vision)
        yield from affine(f"{block}.mlp.gate_proj", of.vision_mlp, of.vision)
        yield from affine(f"{block}.mlp.up_proj", of.vision_mlp, of.vision)
        yield from affine(f"{block}.mlp.down_proj", of.vision, of.vision_mlp)
    yield f"{visual}.merger.ln_q.weight", (of.vision,)
    yield from affine(f"{visual}.merger.mlp.0", 4 * of.vision, 4 * of.vision)
    yield from affine(f"{visual}.merger.mlp.2", of.text, 4 * of.vision)
    language = f"{VLM}.model.language_model"
    yield f"{language}.embed_tokens.weight", (of.vocabulary, of.text)
    kv = of.text // of.text_heads * of.kv_heads
    for n in range(of.text_layers):
        layer = f"{language}.layers.{n}"
        yield from affine(f"{layer}.self_attn.q_proj", of.text, of.text)
        yield from affine(f"{layer}.self_attn.k_proj", kv, of.text)
        yield from affine(f"{layer}.self_attn.v_proj", kv, of.text)
        yield f"{layer}.self_attn.o_proj.weight", (of.text, of.text)
        yield f"{layer}.mlp.gate_proj.weight", (of.text_mlp, of.text)
        yield f"{layer}.mlp.up_proj.weight", (of.text_mlp, of.text)
        yield f"{layer}.mlp.down_proj.weight", (of.text, of.text_mlp)
        yield f"{layer}.input_layernorm.weight", (of.text,)
        yield f"{layer}.post_attention_layernorm.weight", (of.text,)
    yield f"{language}.norm.weight", (of.text,)
    yield f"{VLM}.lm_head.weight", (of.vocabulary, of.text)

    yield "layer_qformer.query_tokens", (of.queries, of.width)
    yield from affine("layer_qformer.proj", of.width, of.text)
    for n in range(of.states):
        layer = f"layer_qformer.layers.{n}"
        yield from affine(f"{layer}.norm1", of.width)
        yield f"{layer}.cross_attn.in_proj_weight", (3 * of.width, of.width)
        yield f"{layer}.cross_attn.in_proj_bias", (3 * of.width,)
        yield from affine(f"{layer}.cross_attn.out_proj", of.width, of.width)
        yield from affine(f"{layer}.norm2", of.width)
        yield from affine(f"{layer}.mlp.0", 4 * of.width, of.width)
        yield from affine(f"{layer}.mlp.2", of.width, 4 * of.width)

    net = "action_model.net"
    yield f"{net}.positional_embedding", (of.queries + of.chunk, of.width)
    yield from affine(f"{net}.history_embedder.linear", of.width, 7)
    yield from affine(f"{net}.x_embedder.linear", of.width, 7)
    yield from affine(f"{net}.t_embedder.mlp.0", of.width, 256)
    yield from affine(f"{net}.t_embedder.mlp.2", of.width, of.width)
    yield f"{net}.z_embedder.uncondition", (of.queries, of.width)
    yield from affine(f"{net}.z_embedder.linear", of.width, of.width)
    for n in range(of.blocks):
        yield from affine(f"{net}.blocks.{n}.attn.qkv", 3 * of.width, of.width)
        yield from affine(f"{net}.blocks.{n}.attn.proj", of.width, of.width)
        yield from affine(f"{net}.blocks.{n}.mlp.fc1", 4 * of.width, of.width)
        yield from affine(f"{net}.blocks.{n}.mlp.fc2", of.width, 4 * of.width)
    yield from affine(f"{net}.final_layer.linear", 7, of.width)

    body = "dino_encoder.body"
    yield f"{body}.cls_token", (1, 1, of.dino)
    yield f"{body}.pos_embed", (1, 37 * 37 + 1, of.dino)
    yield f"{body}.mask_token", (1, of.dino)
    yield from affine(f"{body}.patch_embed.proj", of.dino, 3, 14, 14)
    for n in range(of.dino_blocks):
        block = f"{body}.blocks.{n}"
        yield from affine(f"{block}.norm1", of.dino)
        yield from affine(f"{block}.attn.qkv", 3 * of.dino, of.dino)
        yield from affine(f"{block}.attn.proj", of.dino, of.dino)
        yield f"{block}.ls1.gamma", (of.dino,)
        yield from affine(f"{block}.norm2", of.dino)
        yield from affine(f"{block}.mlp.fc1", 4 * of.dino, of.dino)
        yield from affine(f"{block}.mlp.fc2", of.dino, 4 * of.dino)
        yield f"{block}.ls2.gamma", (of.dino,)
    yield from affine(f"{body}.norm", of.dino)
    yield from affine("dino_pro", of.text, of.dino)


def tensor(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """The float32 values of one tensor: such that nothing in the model saturates, vanishes or is all alike."""
    if name == f"{VLM}.lm_head.weight":
        name = f"{VLM}.model.language_model.embed_tokens.weight"  # one and the same
    noise = np.random.default_rng(zlib.crc32(name.encode())).standard_normal(shape, dtype=np.float32)
    if name.endswith(("norm.weight", "norm1.weight", "norm2.weight", "layernorm.weight", "ln_q.weight")):
        return np.float32(1) + np.float32(0.2) * noise
    if name.endswith("gamma"):
        return np.float32(0.5) + np.float32(0.1) * noise
    if name.endswith(("bias", "pos_embed", "positional_embedding")):
        return np.float32(0.3) * noise
    if name.endswith(("cls_token", "mask_token", "query_tokens", "uncondition", "embed_tokens.weight")):
        return noise
    # Attention that prefers some tokens to others; times that matter.
    gains = {"q_proj": 3.0, "k_proj": 3.0, "qkv": 1.7, "in_proj_weight": 1.7}
    gain = next((gain for part, gain in gains.items() if part in name), 1.0)
    return np.float32(gain / np.sqrt(np.prod(shape[1:]))) * noise


def tensors() -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(tensor(name, shape)) for name, shape in shapes()}


def picture(seed: int, height: int = 224, width: int = 224) -> np.ndarray:
    """(height, width, 3) uint8: coloured blocks on a gradient with some noise, in whole numbers alone."""
    random = np.random.default_rng(seed)
    blocks = random.integers(0, 160, (-(-height // 32), -(-width // 32), 3))
    blocks = blocks.repeat(32, axis=0).repeat(32, axis=1)[:height, :width]
    rows, columns = np.arange(height)[:, None, None], np.arange(width)[None, :, None]
    gradient = 40 * rows // height + 40 * columns // width
    return (blocks + gradient + random.integers(0, 16, (height, width, 3))).astype(np.uint8)


def write_base(directory: Path, *, weights: bool = False, old_names: bool = False) -> Path:
    """The folder of the vision-language model.

    :param weights: with its weights, the head left out as it is where it is the table.
    :param old_names: under the names before transformers 4.52.
    """
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "config.json").write_text(json.dumps(vlm_config(), indent=2))
    tokenizer().save(str(directory / "tokenizer.json"))
    if weights:
        named = {name.removeprefix(f"{VLM}."): value for name, value in tensors().items() if name.startswith(VLM)}
        del named["lm_head.weight"]
        if old_names:
            named = {
                name.replace("model.visual.", "visual.").replace("model.language_model.", "model."): value
                for name, value in named.items()
            }
        save_file(named, directory / "model.safetensors", metadata={"format": "pt"})
    return directory


def write_run(directory: Path) -> Path:
    """The folder of a run. :returns: the weights' file in it."""
    (directory / "checkpoints").mkdir(parents=True, exist_ok=True)
    (directory / "config.yaml").write_text(yaml.safe_dump(run_config(), sort_keys=False))
    (directory / "dataset_statistics.json").write_text(json.dumps(statistics(), indent=2))
    file = directory / "checkpoints" / f"steps_{STEPS}_pytorch_model.pt"
    torch.save(tensors(), file)
    return file
