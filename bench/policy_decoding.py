"""Milliseconds of one action chunk (12 tokens): our decoding against plain ``generate`` of transformers.

Both run the same network with the same random weights (size ``medium``: 8 layers of width 512, the published vocabulary
of 265 k rows), float32 on the CPU, from the same picture and prompt, in turns. ``generate`` has its dynamic cache and
full head. Its prompt is causal, ours sees all of itself. That costs the same (both compute all of the attention matrix
and add a mask), but the tokens are not comparable. A test shows that our tokens do not depend on the accelerations.

* picture: picture encoder, points' encoding and projection; the same code for all.
* prefill: from image features to the first token.
* token: each further one, (12 tokens - 1 token) / 11.
* chunk: from image features to 12 tokens; from pixels: the picture as well.

Expected from the weights that are read: let L = 32 M be the parameters of the layers, V E = 136 M those of the head,
and 8194/3 E = 1.4 M those of the legal rows on average. A token then reads L + 1.4 M instead of L + 136 M; prefill
differs by one row.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from transformers import Gemma2ForCausalLM

from bench.policy_timing import interleave, legal_ranges, network_inputs, spread
from stvla_ros.policy.empty_networks import without_memory
from stvla_ros.policy.spatialvla.config import SpatialVlaConfig
from stvla_ros.policy.spatialvla.decoding.decoder import Accelerations
from stvla_ros.policy.spatialvla.decoding.token_predictor import TokenPredictor
from stvla_ros.policy.spatialvla.model import SpatialVla
from stvla_ros.policy.spatialvla.sizes import published_config

REPEATS = 5
SEED = 0
TARGET_RATIO = 2.0
PLAIN, OURS = "plain generate", "ours"

# A function from image features and the number of tokens to the tokens.
Decode = Callable[[torch.Tensor, int], torch.Tensor]


def plain_generate(model: SpatialVla, ids: torch.Tensor) -> Decode:
    """Decoding by transformers as it is."""
    with torch.inference_mode(False), without_memory():
        language = Gemma2ForCausalLM(model.config.text).eval()
    language.load_state_dict(model.language_model.state_dict(), assign=True)
    language.to(model.device)

    def decode(features: torch.Tensor, tokens: int) -> torch.Tensor:
        embeddings = model.embed_prompt(ids, features)
        return language.generate(
            inputs_embeds=embeddings,
            attention_mask=torch.ones(embeddings.shape[:2], dtype=torch.long, device=embeddings.device),
            max_new_tokens=tokens,
            min_new_tokens=tokens,
            do_sample=False,
        )

    return decode


def our_decoding(model: SpatialVla, ids: torch.Tensor, accelerations: Accelerations) -> Decode:
    ranges = legal_ranges()
    predictors = {n: TokenPredictor(model, ranges[:n], accelerations) for n in (1, len(ranges))}
    text = model.embed_text(ids[:, model.config.num_image_tokens :])
    return lambda features, tokens: predictors[tokens].decode(features, text).offsets


def ways(model: SpatialVla, ids: torch.Tensor) -> dict[str, Decode]:
    """Plain decoding, ours, ours with each acceleration of a CPU switched off in turn, and ours with all switched
    off.
    """
    on = Accelerations()
    variants = {
        OURS: on,
        f"{OURS}, legal_rows off": replace(on, legal_rows=False),
        f"{OURS}, fused_layers off": replace(on, fused_layers=False),
        f"{OURS}, static_cache and fused_layers off": replace(on, static_cache=False, fused_layers=False),
        f"{OURS}, all off": replace(on, legal_rows=False, static_cache=False, fused_layers=False),
    }
    plain = {PLAIN: plain_generate(model, ids)}
    return plain | {name: our_decoding(model, ids, accelerations) for name, accelerations in variants.items()}


def decoding_rows(model: SpatialVla, what: str, repeats: int) -> list[dict[str, Any]]:
    """One row for each way, and one for their common part."""
    pixels, points, ids = network_inputs(model)
    tokens = len(legal_ranges())
    features = model.image_features(pixels, points)
    calls: dict[str, Callable[[], object]] = {"picture": lambda: model.image_features(pixels, points)}
    decoders = ways(model, ids)
    for name, decode in decoders.items():
        calls[f"{name}/prefill"] = partial(decode, features, 1)
        calls[f"{name}/chunk"] = partial(decode, features, tokens)
        calls[f"{name}/pixels"] = partial(lambda decode: decode(model.image_features(pixels, points), tokens), decode)
    times = interleave(calls, repeats, model.device)
    plain = np.median(times[f"{PLAIN}/chunk"])
    result: list[dict[str, Any]] = [{"what": f"{what}: picture", "picture_ms": spread(times["picture"])}]
    for name in decoders:
        prefill, chunk = times[f"{name}/prefill"], times[f"{name}/chunk"]
        row = {
            "what": f"{what}: {name}",
            "prefill_ms": spread(prefill),
            "token_ms": spread((chunk - prefill) / (tokens - 1)),
            "chunk_ms": spread(chunk),
            "from_pixels_ms": spread(times[f"{name}/pixels"]),
            "times_faster": float(plain / np.median(chunk)),
        }
        if name == OURS:
            row["target"] = f">= {TARGET_RATIO:g} times faster"
        result.append(row)
    return result


@torch.inference_mode()
def rows() -> list[dict[str, Any]]:
    """The median and the range of each."""
    torch.manual_seed(SEED)
    model = SpatialVla(SpatialVlaConfig.from_dict(published_config("medium"))).eval()
    return decoding_rows(model, f"medium, float32, {torch.get_num_threads()} threads", REPEATS)


if __name__ == "__main__":
    for row in rows():
        print(row)
