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
from functools import partial

import torch

from stvla_ros.policy.compiled_parts import Compiler
from stvla_ros.policy.spatialvla.actions.action_tokenizer import TOKENS_PER_ACTION
from stvla_ros.policy.spatialvla.actions.consensus import Consensus
from stvla_ros.policy.spatialvla.decoding.fused_layers import FusedLayers
from stvla_ros.policy.spatialvla.gemma import KeyValues
from stvla_ros.policy.spatialvla.model import SpatialVla, soft_cap

# A batched product of bfloat16 wants rows of whole 16 bytes.
_SLOTS_MULTIPLE = 8
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
    :param compiled_parts: what stands between the fused layers' products is compiled in the warm-up
        (compiled_parts.py), for prompts of ``PADDED_TEXT_TOKENS``; None: where that is worth it.
    """

    legal_rows: bool = True
    static_cache: bool = True
    fused_layers: bool = True
    cuda_graph: bool = True
    compiled_parts: bool | None = None


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
    :param compiler: of what stands between the products.
    """

    def __init__(
        self,
        model: SpatialVla,
        legal_ranges: Sequence[tuple[int, int]],
        accelerations: Accelerations = Accelerations(),
        consensus: Consensus | None = None,
        compiler: Compiler = Compiler(enabled=False),
    ) -> None:
        self._consensus = consensus
        self._model, self._legal_ranges, self._accelerations = model, tuple(legal_ranges), accelerations
        fused = accelerations.fused_layers and accelerations.static_cache
        self._fused_layers = FusedLayers(model, compiler) if fused else None
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
        self._look_up = compiler.part(_look_up)
        self._cap = compiler.part(partial(soft_cap, cap=model.config.text.final_logit_softcapping))

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
        else:
            cache.forget(padded)
        steps = torch.arange(len(self._legal_ranges), device=embeddings.device)
        # Of the cache: the prompt, its padding, then the decoded tokens; the last of these is asked for by nobody.
        slots = torch.arange(cache.slots or padded + len(steps) - 1, device=embeddings.device)
        masks = self._masks(slots, steps, length, padded)
        # Positions start at 1 (PaliGemma's convention).
        positions = torch.cat([slots[:padded] + 1, steps + (padded if length is None else length)])
        last = torch.full((1,), padded - 1, device=slots.device) if length is None else length.reshape(1) - 1
        if fused is not None:
            rotary = fused.rotary(*gemma.rotary(positions, model.dtype))
            # 16 bytes apart: what is compiled for CUDA copies what it is given in between.
            single = slots[:, None].repeat(1, 2)

        def run(tokens: torch.Tensor, slot: int, step: int, last: torch.Tensor | None = None) -> torch.Tensor:
            """(L, E) from a slot on, the first decoded ones before a step, to the (1, E) that the next is made of."""
            place = slice(slot + bool(step), slot + bool(step) + len(tokens))
            mask = None if length is None else masks[step, : slot + len(tokens)]
            if fused is not None:
                turn = rotary[0][place], rotary[1][place]
                if step:
                    # All slots and not only those so far: all steps are alike, and one compiled part does for them.
                    return fused(tokens, turn, masks[step], single[slot, :1], cache, last)
                return fused(tokens, turn, mask, slots[:padded], cache, last)
            whole = None if mask is None else mask[None, None, None]
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

    def _masks(
        self, slots: torch.Tensor, steps: torch.Tensor, length: torch.Tensor | None, padded: int
    ) -> torch.Tensor:
        """(N, slots) to add to the attention logits at each step: what hides the padding, and what comes later."""
        hidden = slots >= padded + steps[:, None]
        if length is not None:
            hidden = hidden | ((slots >= length) & (slots < padded))
        # Filled, not chosen by torch.where: that copies its numbers to the device, which a graph's recording forbids.
        mask = torch.zeros(hidden.shape, dtype=self._model.dtype, device=hidden.device)
        return mask.masked_fill(hidden, torch.finfo(self._model.dtype).min)

    def _embed(self, index: torch.Tensor, first: int, end: int) -> torch.Tensor:
        """(1,) of a legal range's tokens to (1, E)."""
        embedded = self._look_up(self._model.spatial_embed_tokens.weight[first:end], index, self._embedding_scale)
        return embedded if self._fused_layers is not None else embedded.to(self._model.dtype)

    def _legal_scores(self, hidden: torch.Tensor, first: int, end: int) -> torch.Tensor:
        """(1, E) to (1, end - first) float32."""
        at = self._begin - self._head_begin
        if self._accelerations.legal_rows:
            return self._cap(hidden.float() @ self._head[:, at + first : at + end])
        return self._cap(hidden.float() @ self._head)[:, at + first : at + end]

    def static_cache(self, prompt_length: int) -> KeyValues:
        """Keys and values for a prompt (with its padding) and the tokens after it."""
        slots = prompt_length + len(self._legal_ranges) - 1
        return self._cache(-(-slots // _SLOTS_MULTIPLE) * _SLOTS_MULTIPLE)

    def _cache(self, slots: int) -> KeyValues:
        return KeyValues(self._model.config.text, slots, self._model.dtype, self._model.device)


def _look_up(rows: torch.Tensor, index: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    return rows.index_select(0, index) * scale


def gumbel_noise(count: int, width: int, generator: torch.Generator) -> torch.Tensor:
    """(count, width) float32 standard Gumbel noise, on the CPU so that it is the same for every device."""
    uniform = torch.rand(count, width, generator=generator).clamp_(min=torch.finfo(torch.float32).tiny)
    return -torch.log(-torch.log(uniform))
