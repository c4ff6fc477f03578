"""Writes a complete SpatialVLA checkpoint of tiny sizes in the published layout: names, config, processor, tokenizer.

It uses nothing of ``stvla_ros``: what a loader must accept is stated here a second time, independently. Weights come
from NumPy generators seeded by the tensor's name, so that whoever reads the folder, the published code included,
computes with the same numbers (``test/policy/data``).
"""

import json
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from scipy.stats import norm
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers

HIDDEN, TEXT_LAYERS, TEXT_HEADS, KV_HEADS, HEAD_DIM, TEXT_MLP = 64, 3, 4, 2, 16, 128
VISION_HIDDEN, VISION_LAYERS, VISION_HEADS, VISION_MLP = 48, 2, 4, 96
BEIT_HIDDEN, BEIT_LAYERS, BEIT_HEADS, BEIT_MLP = 32, 4, 2, 64
NECK, FUSION, RELATIVE, BINS, BIN_EMBEDDING, ATTRACTORS = (8, 12, 16, 16), 16, 8, 64, 16, (16, 8, 4, 1)
PATCH_TRANSFORMER, PATCH_TRANSFORMER_MLP = 128, 32  # ZoeDepth's domain classifier takes 128 features at any size
ACTION_TOKENS = 8194
# Depths the two metric heads are biased to, metres: a table before a camera, and farther, so that the wrong head shows.
DEPTHS = {"nyu": (0.3, 2.0), "kitti": (2.0, 8.0)}

_WORDS = (
    "put the spoon on towel carrot plate stack green block yellow eggplant in basket pick up open close drawer coke can"
).split()
_BYTES = tuple(f"<0x{byte:02X}>" for byte in range(256))
# PaliGemma's own additions
_EXTRA = tuple(f"<loc{i:04d}>" for i in range(1024)) + tuple(f"<seg{i:03d}>" for i in range(128))


def _pieces() -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Vocabulary and merges: characters, and every word of ``_WORDS`` with a space before it as a chain of merges."""
    names = ["<pad>", "<eos>", "<bos>", "<unk>", *_BYTES, "\n", "▁", *map(chr, range(33, 127)), "é", "ü"]
    chains = (("▁" + word[: end - 1], word[end - 1]) for word in _WORDS for end in range(1, len(word) + 1))
    merges = list(dict.fromkeys(chains))
    names += [left + right for left, right in merges]
    return {name: i for i, name in enumerate(names)}, merges


IMAGE_TOKEN = len(_pieces()[0]) + len(_EXTRA)
ACTION_BEGIN = IMAGE_TOKEN + 1
VOCABULARY = ACTION_BEGIN + ACTION_TOKENS  # as published: the last action token ends it


def tokenizer() -> Tokenizer:
    """Byte-fallback BPE in Gemma's form; ids of text below ``IMAGE_TOKEN``, the action tokens are the last."""
    vocabulary, merges = _pieces()
    made = Tokenizer(models.BPE(vocabulary, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    made.normalizer = normalizers.Replace(" ", "▁")
    made.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    made.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    special = ["<pad>", "<eos>", "<bos>", "<unk>"]
    made.add_special_tokens([AddedToken(name, normalized=False, special=True) for name in special])
    made.add_tokens([AddedToken(name, normalized=False) for name in _EXTRA])
    actions = [f"<ACTION{i:05d}>" for i in range(ACTION_TOKENS)]
    made.add_special_tokens([AddedToken(name, normalized=False, special=True) for name in ["<image>", *actions]])
    return made


def config(dtype: str = "float32") -> dict:
    """config.json with the published keys."""
    beit = {
        "model_type": "beit", "image_size": 384, "patch_size": 16, "hidden_size": BEIT_HIDDEN,
        "num_hidden_layers": BEIT_LAYERS, "num_attention_heads": BEIT_HEADS, "intermediate_size": BEIT_MLP,
        "use_relative_position_bias": True, "reshape_hidden_states": False,
        "out_features": ["stage1", "stage2", "stage3", "stage4"], "out_indices": [1, 2, 3, 4],
    }  # fmt: skip
    zoe = {
        "model_type": "zoedepth", "architectures": ["ZoeDepthForDepthEstimation"], "backbone": None,
        "backbone_config": beit, "backbone_hidden_size": BEIT_HIDDEN, "neck_hidden_sizes": list(NECK),
        "fusion_hidden_size": FUSION, "bottleneck_features": FUSION, "num_relative_features": RELATIVE,
        "bin_embedding_dim": BIN_EMBEDDING, "num_attractors": list(ATTRACTORS), "bin_centers_type": "softplus",
        "bin_configurations": [
            {"name": "nyu", "n_bins": BINS, "min_depth": 0.001, "max_depth": 10.0},
            {"name": "kitti", "n_bins": BINS, "min_depth": 0.001, "max_depth": 80.0},
        ],
        "num_patch_transformer_layers": 4, "patch_transformer_hidden_size": PATCH_TRANSFORMER,
        "patch_transformer_intermediate_size": PATCH_TRANSFORMER_MLP, "patch_transformer_num_attention_heads": 4,
        "torch_dtype": dtype,
    }  # fmt: skip
    text = {
        "model_type": "gemma2", "architectures": ["Gemma2ForCausalLM"], "hidden_act": "gelu_pytorch_tanh",
        "hidden_activation": "gelu_pytorch_tanh", "hidden_size": HIDDEN, "intermediate_size": TEXT_MLP,
        "num_hidden_layers": TEXT_LAYERS, "num_attention_heads": TEXT_HEADS, "num_key_value_heads": KV_HEADS,
        "head_dim": HEAD_DIM, "query_pre_attn_scalar": HEAD_DIM,
        "attn_logit_softcapping": 50.0, "final_logit_softcapping": 30.0, "sliding_window": 4096,
        "num_image_tokens": 256, "tie_word_embeddings": False, "vocab_size": VOCABULARY,
        "torch_dtype": dtype,
    }  # fmt: skip
    vision = {
        "model_type": "siglip_vision_model", "hidden_size": VISION_HIDDEN, "intermediate_size": VISION_MLP,
        "num_attention_heads": VISION_HEADS, "num_hidden_layers": VISION_LAYERS, "num_image_tokens": 256,
        "num_positions": 256, "patch_size": 14, "projection_dim": HIDDEN, "vision_use_head": False,
        "torch_dtype": dtype,
    }  # fmt: skip
    return {
        "_vocab_size": VOCABULARY, "action_token_begin_idx": ACTION_BEGIN,
        "architectures": ["SpatialVLAForConditionalGeneration"],
        "auto_map": {
            "AutoConfig": "configuration_spatialvla.SpatialVLAConfig",
            "AutoModel": "modeling_spatialvla.SpatialVLAForConditionalGeneration",
        },
        "bos_token_id": 2, "ego3d_patch_reso": 2, "eos_token_id": 1, "hidden_size": 2048,
        "ignore_index": -100, "image_token_index": IMAGE_TOKEN, "model_type": "spatialvla", "n_freqs": 8,
        "num_hidden_layers": TEXT_LAYERS, "pad_token_id": 0,
        "projection_dim": HIDDEN, "spatial_token_num": ACTION_TOKENS, "text_config": text, "torch_dtype": dtype,
        "transformers_version": "4.47.0", "use_spatial_token": True, "use_vision_zoe": True, "vision_config": vision,
        "vision_zoe_config": zoe,
    }  # fmt: skip


def processor() -> dict:
    """processor_config.json with the published keys; edges of equal probability under Gaussians, cut to the range."""
    gaussians = {  # lowest, highest, mean, standard deviation, number of bins
        "theta_bins": (0.0, np.pi, 1.6, 0.6, 16),
        "phi_bins": (-np.pi, np.pi, 0.2, 1.8, 32),
        "r_bins": (0.0, np.sqrt(3), 0.5, 0.5, 8),
        "roll_bins": (-1.0, 1.0, 0.0, 0.4, 16),
        "pitch_bins": (-1.0, 1.0, 0.02, 0.38, 16),
        "yaw_bins": (-1.0, 1.0, -0.01, 0.42, 16),
    }
    edges = {}
    for name, (low, high, mean, deviation, bins) in gaussians.items():
        law = norm(mean, deviation)
        edges[name] = np.clip(law.ppf(np.linspace(law.cdf(low), law.cdf(high), bins + 1)), low, high).tolist()
    translation, rotation = ("theta_bins", "phi_bins", "r_bins"), ("roll_bins", "pitch_bins", "yaw_bins")
    intrinsics = {"height": 480, "width": 640, "intrinsic": [[623.588, 0, 319.501], [0, 623.588, 239.545], [0, 0, 1]]}

    def statistics(scale: float) -> dict:
        high = np.array([0.028, 0.04, 0.04, 0.08, 0.09, 0.2]) * scale
        low = -high * np.array([1.02, 1.01, 0.65, 0.99, 1.03, 1.01])
        action = {"q01": [*low, 0.0], "q99": [*high, 1.0], "mask": [True] * 6 + [False]}
        action |= {"min": [*(low * 3), 0.0], "max": [*(high * 3), 1.0]}
        action |= {"mean": [0.0] * 6 + [0.5], "std": [*(high / 3), 0.5]}
        proprio = {key: [0.0] * 7 for key in ("mean", "std", "max", "min", "q01", "q99")}
        return {"action": action, "proprio": proprio, "num_transitions": 1000, "num_trajectories": 20}

    return {
        "action_chunk_size": 4,
        "action_config": {
            "distribution": "gaussian",
            "num_bins": {
                "gripper": 2,
                "rotation": {name: gaussians[name][4] for name in rotation},
                "total": ACTION_TOKENS,
                "translation": {name: gaussians[name][4] for name in translation},
            },
            "use_spherical": True,
        },
        "auto_map": {"AutoProcessor": "processing_spatialvla.SpatialVLAProcessor"},
        "bin_policy": {"rotation": {n: edges[n] for n in rotation}, "translation": {n: edges[n] for n in translation}},
        "intrinsic_config": {"bridge_orig/1.0.0": intrinsics, "default": intrinsics},
        "min_sigma": 0.0, "num_obs_steps": 1, "obs_delta": 1, "processor_class": "SpatialVLAProcessor",
        "statistics": {"bridge_orig/1.0.0": statistics(1.0), "fractal20220817_data/0.1.0": statistics(3.0)},
    }  # fmt: skip


def shapes() -> Iterator[tuple[str, tuple[int, ...]]]:
    """Every tensor's published name, with its shape at these sizes."""

    def affine(name: str, *weight: int, bias: int | None = None) -> Iterator[tuple[str, tuple[int, ...]]]:
        yield f"{name}.weight", weight
        yield f"{name}.bias", (weight[0] if bias is None else bias,)

    text = "language_model.model"
    yield f"{text}.embed_tokens.weight", (VOCABULARY, HIDDEN)
    for n in range(TEXT_LAYERS):
        layer = f"{text}.layers.{n}"
        for name in ("input", "post_attention", "pre_feedforward", "post_feedforward"):
            yield f"{layer}.{name}_layernorm.weight", (HIDDEN,)
        for name, heads in (("q", TEXT_HEADS), ("k", KV_HEADS), ("v", KV_HEADS)):
            yield f"{layer}.self_attn.{name}_proj.weight", (heads * HEAD_DIM, HIDDEN)
        yield f"{layer}.self_attn.o_proj.weight", (HIDDEN, TEXT_HEADS * HEAD_DIM)
        for name, shape in (("gate", (TEXT_MLP, HIDDEN)), ("up", (TEXT_MLP, HIDDEN)), ("down", (HIDDEN, TEXT_MLP))):
            yield f"{layer}.mlp.{name}_proj.weight", shape
    yield f"{text}.norm.weight", (HIDDEN,)
    yield "language_model.lm_head.weight", (VOCABULARY, HIDDEN)

    yield from affine("multi_modal_projector.linear", HIDDEN, VISION_HIDDEN)
    head = "position_embedding_3d.position_embedding_head"
    yield from affine(f"{head}.0", VISION_HIDDEN, 12 * 17)  # 4 points a patch; x, 8 sines and 8 cosines a coordinate
    yield from affine(f"{head}.1", VISION_HIDDEN)
    yield from affine(f"{head}.3", VISION_HIDDEN, VISION_HIDDEN)
    yield "spatial_embed_tokens.weight", (ACTION_TOKENS, HIDDEN)

    vision = "vision_tower.vision_model"
    yield from affine(f"{vision}.embeddings.patch_embedding", VISION_HIDDEN, 3, 14, 14)
    yield f"{vision}.embeddings.position_embedding.weight", (256, VISION_HIDDEN)
    for n in range(VISION_LAYERS):
        layer = f"{vision}.encoder.layers.{n}"
        for name in ("layer_norm1", "layer_norm2"):
            yield from affine(f"{layer}.{name}", VISION_HIDDEN)
        for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
            yield from affine(f"{layer}.self_attn.{name}", VISION_HIDDEN, VISION_HIDDEN)
        yield from affine(f"{layer}.mlp.fc1", VISION_MLP, VISION_HIDDEN)
        yield from affine(f"{layer}.mlp.fc2", VISION_HIDDEN, VISION_MLP)
    yield from affine(f"{vision}.post_layernorm", VISION_HIDDEN)

    beit = "vision_zoe_model.backbone"
    yield f"{beit}.embeddings.cls_token", (1, 1, BEIT_HIDDEN)
    yield from affine(f"{beit}.embeddings.patch_embeddings.projection", BEIT_HIDDEN, 3, 16, 16)
    for n in range(BEIT_LAYERS):
        layer = f"{beit}.encoder.layer.{n}"
        attention = f"{layer}.attention.attention"
        yield from affine(f"{attention}.query", BEIT_HIDDEN, BEIT_HIDDEN)
        yield f"{attention}.key.weight", (BEIT_HIDDEN, BEIT_HIDDEN)
        yield from affine(f"{attention}.value", BEIT_HIDDEN, BEIT_HIDDEN)
        table = f"{attention}.relative_position_bias.relative_position_bias_table"
        yield table, (47 * 47 + 3, BEIT_HEADS)  # 24 patches a side, and 3 for the class token
        yield from affine(f"{layer}.attention.output.dense", BEIT_HIDDEN, BEIT_HIDDEN)
        yield from affine(f"{layer}.intermediate.dense", BEIT_MLP, BEIT_HIDDEN)
        yield from affine(f"{layer}.output.dense", BEIT_HIDDEN, BEIT_MLP)
        for name in ("layernorm_before", "layernorm_after"):
            yield from affine(f"{layer}.{name}", BEIT_HIDDEN)
        for name in ("lambda_1", "lambda_2"):
            yield f"{layer}.{name}", (BEIT_HIDDEN,)

    neck = "vision_zoe_model.neck"
    for n, channels in enumerate(NECK):
        yield f"{neck}.convs.{n}.weight", (FUSION, channels, 3, 3)
        yield from affine(f"{neck}.fusion_stage.layers.{n}.projection", FUSION, FUSION, 1, 1)
        for residual in ("residual_layer1", "residual_layer2"):
            for convolution in ("convolution1", "convolution2"):
                yield from affine(f"{neck}.fusion_stage.layers.{n}.{residual}.{convolution}", FUSION, FUSION, 3, 3)
        yield from affine(f"{neck}.reassemble_stage.layers.{n}.projection", channels, BEIT_HIDDEN, 1, 1)
        if (kernel := (4, 2, None, 3)[n]) is not None:
            yield from affine(f"{neck}.reassemble_stage.layers.{n}.resize", channels, channels, kernel, kernel)
        yield from affine(f"{neck}.reassemble_stage.readout_projects.{n}.0", BEIT_HIDDEN, 2 * BEIT_HIDDEN)
    yield from affine("vision_zoe_model.relative_head.conv1", FUSION // 2, FUSION, 3, 3)
    yield from affine("vision_zoe_model.relative_head.conv2", RELATIVE, FUSION // 2, 3, 3)
    yield from affine("vision_zoe_model.relative_head.conv3", 1, RELATIVE, 1, 1)

    metric = "vision_zoe_model.metric_head"
    half = BIN_EMBEDDING // 2
    yield from affine(f"{metric}.conv2", FUSION, FUSION, 1, 1)
    for name in ("seed_projector", *(f"projectors.{n}" for n in range(4))):
        yield from affine(f"{metric}.{name}.conv1", half, FUSION, 1, 1)
        yield from affine(f"{metric}.{name}.conv2", BIN_EMBEDDING, half, 1, 1)
    for domain in DEPTHS:
        yield from affine(f"{metric}.seed_bin_regressors.{domain}.conv1", half, FUSION, 1, 1)
        yield from affine(f"{metric}.seed_bin_regressors.{domain}.conv2", BINS, half, 1, 1)
        for n in range(
            len(ATTRACTORS)
        ):  # with two heads, the published code makes 16 everywhere: the config's go unused
            yield from affine(f"{metric}.attractors.{domain}.{n}.conv1", BIN_EMBEDDING, BIN_EMBEDDING, 1, 1)
            yield from affine(f"{metric}.attractors.{domain}.{n}.conv2", 16, BIN_EMBEDDING, 1, 1)
        inputs = RELATIVE + BIN_EMBEDDING
        yield from affine(f"{metric}.conditional_log_binomial.{domain}.mlp.0", inputs // 4, inputs, 1, 1)
        yield from affine(f"{metric}.conditional_log_binomial.{domain}.mlp.2", 4, inputs // 4, 1, 1)
    yield from affine(f"{metric}.mlp_classifier.linear1", PATCH_TRANSFORMER, PATCH_TRANSFORMER)
    yield from affine(f"{metric}.mlp_classifier.linear2", 2, PATCH_TRANSFORMER)
    yield from affine(f"{metric}.patch_transformer.embedding_convPxP", PATCH_TRANSFORMER, FUSION, 1, 1)
    for n in range(4):
        layer = f"{metric}.patch_transformer.transformer_encoder.{n}"
        for name in ("query", "key", "value", "out_proj"):
            yield from affine(f"{layer}.self_attn.{name}", PATCH_TRANSFORMER, PATCH_TRANSFORMER)
        yield from affine(f"{layer}.linear1", PATCH_TRANSFORMER_MLP, PATCH_TRANSFORMER)
        yield from affine(f"{layer}.linear2", PATCH_TRANSFORMER, PATCH_TRANSFORMER_MLP)
        for name in ("norm1", "norm2"):
            yield from affine(f"{layer}.{name}", PATCH_TRANSFORMER)


def tensor(name: str, shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    """The float32 values of one tensor: such that nothing in the model saturates, vanishes or is all alike."""
    noise = np.random.default_rng([seed, zlib.crc32(name.encode())]).standard_normal(shape, dtype=np.float32)
    if "norm" in name or ".position_embedding_head.1." in name:
        gemma = name.startswith("language_model")  # multiplies by 1 + weight
        return np.float32(name.endswith("weight") and not gemma) + np.float32(0.2) * noise
    if "lambda_" in name:
        return np.float32(0.5) + np.float32(0.1) * noise
    if "embed_tokens" in name:
        return noise / np.float32(np.sqrt(HIDDEN))  # Gemma multiplies by √hidden
    if name.endswith((".position_embedding.weight", "_bias_table")):
        return np.float32(0.5) * noise
    if name.endswith("cls_token"):
        return noise
    if name.endswith("bias"):
        return _depth_bias(name, shape) + np.float32(0.1) * noise
    # Attention and logits spread enough for Gemma's soft caps to show and for a clear winner among thousands of tokens;
    # depth that follows the picture.
    gains = {"lm_head": 2.0, "self_attn.q_proj": 3.0, "self_attn.k_proj": 3.0, "mlp.0": 3.0, "mlp.2": 3.0}
    gain = gains.get(".".join(name.split(".")[-3:-1]), gains.get(name.split(".")[-2], 1.0))
    return np.float32(gain / np.sqrt(np.prod(shape[1:]))) * noise


def _depth_bias(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Biases that bring ZoeDepth's answer into ``DEPTHS``: bin centres before their softplus; a low temperature."""
    for domain, (near, far) in DEPTHS.items():
        if f"{domain}.mlp.2" in name:
            return np.array([0.0, 0.0, -4.0, 2.0], np.float32)
        if f".{domain}." in name and ".conv2." in name:
            centers = np.linspace(near, far, shape[0] + 2)[1:-1]
            return np.log(np.expm1(centers)).astype(np.float32)
    return np.zeros(shape, np.float32)


def picture(seed: int, height: int = 224, width: int = 224) -> np.ndarray:
    """(height, width, 3) uint8: coloured blocks on a gradient with some noise, in whole numbers alone."""
    random = np.random.default_rng(seed)
    blocks = random.integers(0, 160, (height // 32, width // 32, 3)).repeat(32, axis=0).repeat(32, axis=1)
    rows, columns = np.arange(height)[:, None, None], np.arange(width)[None, :, None]
    gradient = 40 * rows // height + 40 * columns // width
    return (blocks + gradient + random.integers(0, 16, (height, width, 3))).astype(np.uint8)


def depth_map() -> np.ndarray:
    """(224, 224) float32 metres: a table seen at an angle, a box on it, and a thick line in front, as a trace is."""
    depth = np.repeat(np.linspace(1.4, 0.6, 224, dtype=np.float32)[:, None], 224, axis=1)
    depth[90:150, 60:120] = 0.55
    for column in range(30, 200):
        depth[180 - column // 2 : 186 - column // 2, column] = 0.35
    return depth


def write_tiny_checkpoint(directory: str | Path, *, shards: int = 1, seed: int = 0, dtype: str = "float32") -> Path:
    """Write the checkpoint's folder.

    :param shards: 1 for ``model.safetensors``, more for ``model-0000i-of-0000n.safetensors`` with an index.
    :param dtype: of the stored tensors, ``float32`` or ``bfloat16``.
    :returns: the folder.
    """
    folder = Path(directory)
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: torch.from_numpy(tensor(name, shape, seed)).to(getattr(torch, dtype)) for name, shape in shapes()}
    if shards == 1:
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    else:
        files = [f"model-{i + 1:05d}-of-{shards:05d}.safetensors" for i in range(shards)]
        weight_map = {name: files[i % shards] for i, name in enumerate(sorted(tensors))}
        for file in files:
            part = {name: tensors[name] for name in tensors if weight_map[name] == file}
            save_file(part, folder / file, metadata={"format": "pt"})
        size = sum(t.numel() * t.element_size() for t in tensors.values())
        _write(folder / "model.safetensors.index.json", {"metadata": {"total_size": size}, "weight_map": weight_map})
    _write(folder / "config.json", config(dtype))
    _write(folder / "processor_config.json", processor())
    tokens = {"bos_token_id": 2, "eos_token_id": 1, "pad_token_id": 0}
    _write(folder / "generation_config.json", tokens | {"cache_implementation": "hybrid"})
    pictures = {
        "do_convert_rgb": None, "do_normalize": False, "do_rescale": True, "do_resize": True, "image_mean": [0.5] * 3,
        "image_processor_type": "SiglipImageProcessor", "image_seq_length": 256, "image_std": [0.5] * 3,
        "processor_class": "SpatialVLAProcessor", "resample": 3, "rescale_factor": 1 / 255,
        "size": {"height": 224, "width": 224},
    }  # fmt: skip
    _write(folder / "preprocessor_config.json", pictures)
    tokenizer().save(str(folder / "tokenizer.json"))
    special = {"bos_token": "<bos>", "eos_token": "<eos>", "pad_token": "<pad>", "unk_token": "<unk>"}
    _write(folder / "special_tokens_map.json", special | {"additional_special_tokens": ["<image>"]})
    classes = {"tokenizer_class": "GemmaTokenizer", "processor_class": "SpatialVLAProcessor"}
    _write(folder / "tokenizer_config.json", special | classes | {"add_bos_token": False, "add_eos_token": False})
    return folder


def _write(path: Path, content: dict) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n")
