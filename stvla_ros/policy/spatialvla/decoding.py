"""From the language model's inputs to the 12 action tokens of a chunk.

At every position only the tokens that are legal there are scored, so the output is always a valid action and the
265 k rows of the head are never read in full. Per chunk, E = width, L = layers' parameters, V = vocabulary:

* plain generation reads 12 (L + V E) weights and grows its cache by copying it at every token;
* here it is 12 L + 4 (4096 + 4096 + 2) E, and keys and values are written in place.

Nothing here waits for the device or depends on the prompt's length other than through a tensor, so that the whole
of it can be captured as one CUDA graph (cuda_graph.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from transformers.cache_utils import Cache, DynamicCache, StaticLayer

from stvla_ros.policy.spatialvla.model import SpatialVla

# Stands for every token of a chunk when a score was NaN or infinite: the best of such scores means nothing.
NO_TOKEN = -1


@dataclass(frozen=True)
class Accelerations:
    """What makes decoding fast; the tokens are the same without.

    :param legal_rows: read only the head's rows of the legal tokens (else all, and mask the others).
    :param static_cache: keys and values in one allocation (else a cache that grows by copying).
    :param cuda_graph: on CUDA, the whole chunk as one graph; only with the static cache.
    """

    legal_rows: bool = True
    static_cache: bool = True
    cuda_graph: bool = True


@dataclass(frozen=True)
class Decoded:
    """
    :param offsets: (N,) int64 action tokens; all ``NO_TOKEN`` when a score was NaN or infinite.
    :param hidden: (1, E) normalised hidden state of the prompt's last token, which scored the first of them.
    """

    offsets: torch.Tensor
    hidden: torch.Tensor


def decode_chunk(
    model: SpatialVla,
    embeddings: torch.Tensor,
    length: torch.Tensor,
    legal_ranges: Sequence[tuple[int, int]],
    noise: torch.Tensor | None = None,
    accelerations: Accelerations = Accelerations(),
    cache: Cache | None = None,
) -> Decoded:
    """
    :param embeddings: (1, L, E) of the prompt, possibly padded at its end.
    :param length: () int64, tokens of the prompt that are not padding.
    :param legal_ranges: per token to be decoded, the half-open range of legal offsets.
    :param noise: (N, widest range) to add to the scores: the best token after adding Gumbel noise times the temperature
        is a sample of the softmax at that temperature (the Gumbel-max trick), without a random number generator on the
        device. None: greedy.
    :param cache: a ``static_cache`` of this length to be used again; None makes one.
    """
    padded, steps = embeddings.shape[1], len(legal_ranges)
    if cache is not None:
        cache.reset()
    else:
        cache = static_cache(model, padded, steps) if accelerations.static_cache else DynamicCache()
    # Cache slots: the prompt, its padding, then the decoded tokens; the last of these is asked for by nobody.
    slots = torch.arange(padded + steps - 1, device=embeddings.device)
    is_prompt = slots < length

    def mask(step: int) -> torch.Tensor:
        """The prompt sees all of itself; what follows sees the prompt and what came before it."""
        visible = is_prompt | ((slots >= padded) & (slots < padded + step))
        used = len(slots) if accelerations.static_cache else padded + step
        return torch.where(visible[:used], 0.0, torch.finfo(model.dtype).min).to(model.dtype)[None, None, None]

    # Positions start at 1 (PaliGemma's convention).
    hidden = model.run_language_model(embeddings, slots[None, :padded] + 1, mask(0), cache)
    hidden = prompt_end = hidden[0].index_select(0, length.reshape(1) - 1)
    offsets: list[torch.Tensor] = []
    best: list[torch.Tensor] = []
    for step, (first, end) in enumerate(legal_ranges):
        if step:
            embedding = model.embed_actions(offsets[-1])[None]
            hidden = model.run_language_model(embedding, (length + step).reshape(1, 1), mask(step), cache)[0]
        scores = _legal_scores(model, hidden, first, end, accelerations.legal_rows)
        if noise is not None:
            scores = scores + noise[step, : end - first]
        offsets.append(scores.argmax(dim=-1) + first)
        best.append(scores.amax(dim=-1))  # NaN when any score is
    return Decoded(torch.where(torch.cat(best).isfinite().all(), torch.cat(offsets), NO_TOKEN), prompt_end)


def _legal_scores(model: SpatialVla, hidden: torch.Tensor, first: int, end: int, only_legal_rows: bool) -> torch.Tensor:
    """(1, E) to (1, end - first)."""
    begin = model.config.action_token_begin
    if only_legal_rows:
        return model.logits(hidden, begin + first, begin + end)
    return model.logits(hidden)[:, begin + first : begin + end]


def static_cache(model: SpatialVla, prompt_length: int, steps: int) -> Cache:
    """Keys and values for a prompt (with its padding) and the tokens decoded after it, in one allocation a layer."""
    text = model.config.text
    # All layers alike: the sliding window is longer than the prompt, so its layers need no cache of their own kind.
    layers = [StaticLayer(max_cache_len=prompt_length + steps - 1) for _ in range(text.num_hidden_layers)]
    cache = Cache(layers=layers)
    cache.early_initialization(1, text.num_key_value_heads, text.head_dim, model.dtype, model.device)
    return cache


def gumbel_noise(count: int, width: int, generator: torch.Generator) -> torch.Tensor:
    """(count, width) float32 standard Gumbel noise, on the CPU so that it is the same for every device."""
    uniform = torch.rand(count, width, generator=generator).clamp_(min=torch.finfo(torch.float32).tiny)
    return -torch.log(-torch.log(uniform))
