"""From the language model's inputs to the 12 action tokens of a chunk.

At every position only the tokens that are legal there are scored, so the output is always a valid action and the
265 k rows of the head are never read in full. Per chunk, E = width, L = layers' parameters, V = vocabulary:

* plain generation reads 12 (L + V E) weights and grows its cache by copying it at every token;
* here it is 12 L + 4 (4096 + 4096 + 2) E, and keys and values are written in place.

Scores are float32 whatever the weights are: rounded to bfloat16, eight digits of them, several tokens would be best.

Nothing here waits for the device or depends on the prompt's length other than through a tensor, so that the whole
of it can be captured as one CUDA graph (cuda_graph.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from stvla_ros.policy.spatialvla.actions.action_tokenizer import TOKENS_PER_ACTION
from stvla_ros.policy.spatialvla.actions.consensus import Consensus
from stvla_ros.policy.spatialvla.decoding.fused_layers import FusedLayers
from stvla_ros.policy.spatialvla.gemma import KeyValues
from stvla_ros.policy.spatialvla.model import SpatialVla

# Stands for every token of a chunk when a score was NaN or infinite: the best of such scores means nothing.
NO_TOKEN = -1


@dataclass(frozen=True)
class Accelerations:
    """What makes decoding fast; the tokens are the same without.

    :param legal_rows: read only the head's rows of the legal tokens (else all, and mask the others).
    :param static_cache: keys and values in one allocation (else a cache that grows by copying).
    :param fused_layers: prompt and decoded tokens go through ``FusedLayers`` (else the modules' own forward); only
        with the static cache.
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
    :param hidden: (1, E) float32 normalised hidden state of the prompt's last token, which scored the first of them.
    """

    offsets: torch.Tensor
    hidden: torch.Tensor


class ChunkDecoder:
    """
    :param model: the network, on its device; its weights must not change afterwards.
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
        begin = model.config.action_token_begin
        # Scored from the first of these rows on.
        self._head_begin = begin if accelerations.legal_rows else model.head_begin
        rows = model.head(
            self._head_begin, begin + model.config.num_action_tokens if accelerations.legal_rows else None
        )
        # (E, rows): one row times this reads it in the order that it lies in, on a CPU.
        self._head = rows.float().t().contiguous() if model.device.type == "cpu" else rows.float().t()
        self._begin = begin
        self._firsts = torch.tensor([first for first, _ in self._legal_ranges], device=model.device)
        # What an embedding is multiplied by, as a tensor: the product is then float32 in one operation.
        self._embedding_scale = torch.full((1,), model.embedding_scale, device=model.device)

    def __call__(
        self,
        embeddings: torch.Tensor,
        length: torch.Tensor | None = None,
        noise: torch.Tensor | None = None,
        cache: KeyValues | None = None,
    ) -> Decoded:
        """
        :param embeddings: (1, L, E) of the prompt, possibly padded at its end.
        :param length: () int64, tokens of the prompt that are not padding; None: all.
        :param noise: (N, widest range) to add to the scores: the best token after adding Gumbel noise times the
            temperature is a sample of the softmax at that temperature (the Gumbel-max trick), without a random number
            generator on the device. None: greedy.
        :param cache: a ``static_cache`` of this length to be used again; None makes one.
        """
        model, padded = self._model, embeddings.shape[1]
        gemma, fused = model.language_model.model, self._fused_layers
        if cache is None:
            cache = self.static_cache(padded) if self._accelerations.static_cache else self._cache(0)
        steps = torch.arange(len(self._legal_ranges), device=embeddings.device)
        # Of the cache: the prompt, its padding, then the decoded tokens; the last of these is asked for by nobody.
        slots = torch.arange(padded + len(steps) - 1, device=embeddings.device)
        mask = None if length is None else self._padding_mask(slots, length, padded)
        # Positions start at 1 (PaliGemma's convention).
        positions = torch.cat([slots[:padded] + 1, steps + (padded if length is None else length)])
        last = torch.full((1,), padded - 1, device=slots.device) if length is None else length.reshape(1) - 1
        if fused is not None:
            rotary = fused.rotary(*gemma.rotary(positions, model.dtype))

        def run(tokens: torch.Tensor, slot: int, step: int, last: torch.Tensor | None = None) -> torch.Tensor:
            """(L, E) from a slot on, the first decoded ones before a step, to the (1, E) that the next is made of."""
            seen = None if mask is None else mask[: slot + len(tokens)]
            place = slice(slot + bool(step), slot + bool(step) + len(tokens))
            if fused is not None:
                return fused(tokens, (rotary[0][place], rotary[1][place]), seen, slot, cache, last)
            whole = None if seen is None else seen[None, None, None]
            hidden = model.run_language_model(tokens[None], positions[None, place], whole, cache, slot)[0]
            return hidden if last is None else hidden.index_select(0, last)

        # The prompt sees all of itself; what follows sees the prompt and what came before it.
        hidden = prompt_end = run(embeddings[0], 0, 0, last)
        chosen: list[torch.Tensor] = []
        best: list[torch.Tensor] = []
        for step, (first, end) in enumerate(self._legal_ranges):
            if step:
                hidden = run(self._embed(chosen[-1], *self._legal_ranges[step - 1]), padded + step - 1, step)
            scores = self._legal_scores(hidden, first, end)
            if noise is not None:
                scores = scores + noise[step, : end - first]
            highest, index = scores.max(dim=-1)  # NaN when any score is
            if self._consensus is not None and noise is None:
                index = self._consensus.choose(scores, step % TOKENS_PER_ACTION)
            chosen.append(index)
            best.append(highest)
        means_something = torch.cat(best).isfinite().all()
        return Decoded((torch.cat(chosen) + self._firsts).masked_fill(~means_something, NO_TOKEN), prompt_end.float())

    def _padding_mask(self, slots: torch.Tensor, length: torch.Tensor, padded: int) -> torch.Tensor:
        """(slots,) to add to the attention logits: what hides the padding."""
        hidden = (slots >= length) & (slots < padded)
        # Filled, not chosen by torch.where: that copies its numbers to the device, which a graph's recording forbids.
        mask = torch.zeros(hidden.shape, dtype=self._model.dtype, device=hidden.device)
        return mask.masked_fill(hidden, torch.finfo(self._model.dtype).min)

    def _embed(self, index: torch.Tensor, first: int, end: int) -> torch.Tensor:
        """(1,) of a legal range's tokens to (1, E)."""
        rows = self._model.spatial_embed_tokens.weight[first:end].index_select(0, index)
        embedded = rows * self._embedding_scale
        return embedded if self._fused_layers is not None else embedded.to(self._model.dtype)

    def _legal_scores(self, hidden: torch.Tensor, first: int, end: int) -> torch.Tensor:
        """(1, E) to (1, end - first) float32."""
        at = self._begin - self._head_begin
        if self._accelerations.legal_rows:
            return self._model.cap(hidden.float() @ self._head[:, at + first : at + end])
        return self._model.cap(hidden.float() @ self._head)[:, at + first : at + end]

    def static_cache(self, prompt_length: int) -> KeyValues:
        """Keys and values for a prompt (with its padding) and the tokens after it, in one allocation a layer."""
        return self._cache(prompt_length + len(self._legal_ranges) - 1)

    def _cache(self, slots: int) -> KeyValues:
        return KeyValues(self._model.config.text, slots, self._model.dtype, self._model.device)


def gumbel_noise(count: int, width: int, generator: torch.Generator) -> torch.Tensor:
    """(count, width) float32 standard Gumbel noise, on the CPU so that it is the same for every device."""
    uniform = torch.rand(count, width, generator=generator).clamp_(min=torch.finfo(torch.float32).tiny)
    return -torch.log(-torch.log(uniform))
