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

from stvla_ros.policy.spatialvla.actions.action_tokenizer import TOKENS_PER_ACTION
from stvla_ros.policy.spatialvla.actions.consensus import Consensus
from stvla_ros.policy.spatialvla.decoding.fused_layers import FusedLayers
from stvla_ros.policy.spatialvla.model import SpatialVla

# Stands for every token of a chunk when a score was NaN or infinite: the best of such scores means nothing.
NO_TOKEN = -1


@dataclass(frozen=True)
class Accelerations:
    """What makes decoding fast; the tokens are the same without.

    :param legal_rows: read only the head's rows of the legal tokens (else all, and mask the others).
    :param static_cache: keys and values in one allocation (else a cache that grows by copying).
    :param fused_layers: decoded tokens go through ``FusedLayers`` (else transformers' own forward); only with the
        static cache.
    :param cuda_graph: on CUDA, the whole chunk as one graph; only with the static cache.
    """

    legal_rows: bool = True
    static_cache: bool = True
    fused_layers: bool = True
    cuda_graph: bool = True


@dataclass(frozen=True)
class Decoded:
    """
    :param offsets: (N,) int64 action tokens; all ``NO_TOKEN`` when a score was NaN or infinite.
    :param hidden: (1, E) normalised hidden state of the prompt's last token, which scored the first of them.
    """

    offsets: torch.Tensor
    hidden: torch.Tensor


class ChunkDecoder:
    """
    :param model: the network, on its device.
    :param legal_ranges: per token to be decoded, the half-open range of legal offsets.
    :param accelerations: what of them to use.
    :param consensus: how tokens are chosen without noise; None for the best score (the published rule).
    """

    def __init__(
        self,
        model: SpatialVla,
        legal_ranges: Sequence[tuple[int, int]],
        accelerations: Accelerations = Accelerations(),
        consensus: Consensus | None = None,
    ) -> None:
        self._consensus = consensus
        self._model, self._legal_ranges, self._accelerations = model, tuple(legal_ranges), accelerations
        fused = accelerations.fused_layers and accelerations.static_cache
        self._fused_layers = FusedLayers(model) if fused else None

    def __call__(
        self,
        embeddings: torch.Tensor,
        length: torch.Tensor,
        noise: torch.Tensor | None = None,
        cache: Cache | None = None,
    ) -> Decoded:
        """
        :param embeddings: (1, L, E) of the prompt, possibly padded at its end.
        :param length: () int64, tokens of the prompt that are not padding.
        :param noise: (N, widest range) to add to the scores: the best token after adding Gumbel noise times the
            temperature is a sample of the softmax at that temperature (the Gumbel-max trick), without a random number
            generator on the device. None: greedy.
        :param cache: a ``static_cache`` of this length to be used again; None makes one.
        """
        model, padded = self._model, embeddings.shape[1]
        if cache is not None:
            cache.reset()
        else:
            cache = self.static_cache(padded) if self._accelerations.static_cache else DynamicCache()
        steps = torch.arange(len(self._legal_ranges), device=embeddings.device)
        # Cache slots: the prompt, its padding, then the decoded tokens; the last of these is asked for by nobody.
        slots = torch.arange(padded + len(steps) - 1, device=embeddings.device)
        # The prompt sees all of itself; what follows sees the prompt and what came before it.
        visible = (slots < length) | ((slots >= padded) & (slots < padded + steps[:, None]))
        # Filled, not chosen by torch.where: that copies its numbers to the device, which a graph's recording forbids.
        masks = torch.zeros(visible.shape, dtype=model.dtype, device=visible.device)
        masks = masks.masked_fill(~visible, torch.finfo(model.dtype).min)
        # Positions start at 1 (PaliGemma's convention).
        positions = length + steps
        rotary = model.language_model.model.rotary_emb(embeddings, positions[None])
        used = len(slots) if self._accelerations.static_cache else padded
        hidden = model.run_language_model(embeddings, slots[None, :padded] + 1, masks[None, None, :1, :used], cache)
        hidden = prompt_end = hidden[0].index_select(0, length.reshape(1) - 1)
        offsets: list[torch.Tensor] = []
        best: list[torch.Tensor] = []
        for step, (first, end) in enumerate(self._legal_ranges):
            if step:
                embedding = model.embed_actions(offsets[-1])
                if self._fused_layers is not None:
                    turn = (rotary[0][0, step : step + 1], rotary[1][0, step : step + 1])
                    hidden = self._fused_layers(embedding, turn, masks[step], padded + step - 1, cache)
                else:
                    used = len(slots) if self._accelerations.static_cache else padded + step
                    mask, position = masks[None, None, step : step + 1, :used], positions[None, step : step + 1]
                    hidden = model.run_language_model(embedding[None], position, mask, cache)[0]
            scores = self._legal_scores(hidden, first, end)
            if noise is not None:
                scores = scores + noise[step, : end - first]
            if self._consensus is not None and noise is None:
                offsets.append(self._consensus.choose(scores, step % TOKENS_PER_ACTION) + first)
            else:
                offsets.append(scores.argmax(dim=-1) + first)
            best.append(scores.amax(dim=-1))  # NaN when any score is
        means_something = torch.cat(best).isfinite().all()
        return Decoded(torch.cat(offsets).masked_fill(~means_something, NO_TOKEN), prompt_end)

    def _legal_scores(self, hidden: torch.Tensor, first: int, end: int) -> torch.Tensor:
        """(1, E) to (1, end - first)."""
        begin = self._model.config.action_token_begin
        if self._accelerations.legal_rows:
            return self._model.logits(hidden, begin + first, begin + end)
        return self._model.logits(hidden)[:, begin + first : begin + end]

    def static_cache(self, prompt_length: int) -> Cache:
        """Keys and values for a prompt (with its padding) and the tokens after it, in one allocation a layer."""
        text = self._model.config.text
        slots = prompt_length + len(self._legal_ranges) - 1
        # All layers alike: the sliding window is longer than the prompt, so its layers need no cache of their own kind.
        cache = Cache(layers=[StaticLayer(max_cache_len=slots) for _ in range(text.num_hidden_layers)])
        cache.early_initialization(1, text.num_key_value_heads, text.head_dim, self._model.dtype, self._model.device)
        return cache


def gumbel_noise(count: int, width: int, generator: torch.Generator) -> torch.Tensor:
    """(count, width) float32 standard Gumbel noise, on the CPU so that it is the same for every device."""
    uniform = torch.rand(count, width, generator=generator).clamp_(min=torch.finfo(torch.float32).tiny)
    return -torch.log(-torch.log(uniform))
