"""Decodes the action tokens of a chunk from the language model's inputs.

At every position only the tokens that are legal there are scored, so the output is always a valid action and the
265 k rows of the head are never read in full. Per chunk, E = width, L = layers' parameters, V = vocabulary:

* plain generation reads 12 (L + V E) weights and grows its cache by copying it at every token;
* here it is 12 L + 4 (4096 + 4096 + 2) E, and keys and values are written in place.

Scores are float32 whatever the type of the weights: rounded to bfloat16 (8 bits of precision), several tokens would
share the best score.

Nothing here waits for the device, and nothing depends on the prompt's length except through a tensor. So all of it can
be captured as one CUDA graph (cuda_graph.py).
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

# A batched product in bfloat16 needs rows of a multiple of 16 bytes.
_SLOTS_MULTIPLE = 8
# Stands for every token of a chunk when a score was NaN or infinite: such scores have no meaningful maximum.
NO_TOKEN = -1


@dataclass(frozen=True)
class Accelerations:
    """Options that make decoding fast. The tokens are the same without them.

    :param legal_rows: whether only the head's rows of the legal tokens are read (else all are, and the others are
        masked).
    :param static_cache: whether keys and values have one allocation (else the cache grows by copying).
    :param fused_layers: whether prompt and decoded tokens go through ``FusedLayers`` (else the modules' own forward);
        only with the static cache.
    :param cuda_graph: whether the whole chunk is one CUDA graph; only on CUDA, and only with the static cache.
    :param compiled_parts: whether the operations between the fused layers' products are compiled during the warm-up
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
    :param legal_ranges: half-open range of legal offsets for each token to be decoded.
    :param accelerations: choice of the accelerations.
    :param consensus: rule that chooses tokens when there is no noise; None for the best score (the published rule).
    :param compiler: compiler of the operations between the products.
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
        # Scores are computed from this row on.
        self._head_begin = begin if accelerations.legal_rows else model.head_begin
        rows = model.head(
            self._head_begin, begin + model.config.num_action_tokens if accelerations.legal_rows else None
        )
        # (E, rows): on a CPU, a product with one row then reads it in the order of its memory.
        self._head = rows.float().t().contiguous() if model.device.type == "cpu" else rows.float().t()
        self._begin = begin
        self._firsts = torch.tensor([first for first, _ in self._legal_ranges], device=model.device)
        # The scale of the embeddings as a tensor: the product is then float32 in one operation.
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
        :param length: () int64, number of tokens of the prompt that are not padding; None: all.
        :param noise: (N, widest range) noise that is added to the scores. The best token after adding Gumbel noise
            times the temperature is a sample of the softmax at that temperature (the Gumbel-max trick), without a
            random number generator on the device. None: greedy.
        :param cache: a ``static_cache`` of this length to be used again; None makes one.
        """
        model, padded = self._model, embeddings.shape[1]
        gemma, fused = model.language_model.model, self._fused_layers
        if cache is None:
            cache = self.static_cache(padded) if self._accelerations.static_cache else self._cache(0)
        else:
            cache.forget(padded)
        steps = torch.arange(len(self._legal_ranges), device=embeddings.device)
        # Slots of the cache: the prompt, its padding, then the decoded tokens. The last decoded token needs no slot:
        # nothing attends to it.
        slots = torch.arange(cache.slots or padded + len(steps) - 1, device=embeddings.device)
        masks = self._masks(slots, steps, length, padded)
        # Positions start at 1 (PaliGemma's convention).
        positions = torch.cat([slots[:padded] + 1, steps + (padded if length is None else length)])
        last = torch.full((1,), padded - 1, device=slots.device) if length is None else length.reshape(1) - 1
        if fused is not None:
            rotary = fused.rotary(*gemma.rotary(positions, model.dtype))
            # 16 bytes apart: code that is compiled for CUDA copies inputs that are not aligned so.
            single = slots[:, None].repeat(1, 2)

        def run(tokens: torch.Tensor, slot: int, step: int, last: torch.Tensor | None = None) -> torch.Tensor:
            """Run the layers on (L, E) embeddings; the result (1, E) scores the next token. The keys go to the slots
            from ``slot`` on; ``step`` counts the decoded tokens before.
            """
            place = slice(slot + bool(step), slot + bool(step) + len(tokens))
            mask = None if length is None else masks[step, : slot + len(tokens)]
            if fused is not None:
                turn = rotary[0][place], rotary[1][place]
                if step:
                    # All slots, and not only those filled so far: all steps then have the same shapes, and one compiled
                    # part serves them all.
                    return fused(tokens, turn, masks[step], single[slot, :1], cache, last)
                return fused(tokens, turn, mask, slots[:padded], cache, last)
            whole = None if mask is None else mask[None, None, None]
            hidden = model.run_language_model(tokens[None], positions[None, place], whole, cache, slot)[0]
            return hidden if last is None else hidden.index_select(0, last)

        # The prompt sees all of itself; a decoded token sees the prompt and the tokens before it.
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
        """(N, slots) masks that are added to the attention logits at each step. They hide the padding and all later
        tokens.
        """
        hidden = slots >= padded + steps[:, None]
        if length is not None:
            hidden = hidden | ((slots >= length) & (slots < padded))
        # Filled, not chosen by torch.where, which copies its numbers to the device: forbidden while a graph is
        # recorded.
        mask = torch.zeros(hidden.shape, dtype=self._model.dtype, device=hidden.device)
        return mask.masked_fill(hidden, torch.finfo(self._model.dtype).min)

    def _embed(self, index: torch.Tensor, first: int, end: int) -> torch.Tensor:
        """Embed the token with index (1,) in a legal range: (1, E)."""
        embedded = self._look_up(self._model.spatial_embed_tokens.weight[first:end], index, self._embedding_scale)
        return embedded if self._fused_layers is not None else embedded.to(self._model.dtype)

    def _legal_scores(self, hidden: torch.Tensor, first: int, end: int) -> torch.Tensor:
        """Scores of the tokens first … end - 1: (1, E) to (1, end - first) float32."""
        at = self._begin - self._head_begin
        if self._accelerations.legal_rows:
            return self._cap(hidden.float() @ self._head[:, at + first : at + end])
        return self._cap(hidden.float() @ self._head)[:, at + first : at + end]

    def static_cache(self, prompt_length: int) -> KeyValues:
        """A cache for the keys and values of a prompt (with its padding) and the tokens after it."""
        slots = prompt_length + len(self._legal_ranges) - 1
        return self._cache(-(-slots // _SLOTS_MULTIPLE) * _SLOTS_MULTIPLE)

    def _cache(self, slots: int) -> KeyValues:
        return KeyValues(self._model.config.text, slots, self._model.dtype, self._model.device)


def _look_up(rows: torch.Tensor, index: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    return rows.index_select(0, index) * scale


def gumbel_noise(count: int, width: int, generator: torch.Generator) -> torch.Tensor:
    """(count, width) float32 standard Gumbel noise, drawn on the CPU so that it is the same for every device."""
    uniform = torch.rand(count, width, generator=generator).clamp_(min=torch.finfo(torch.float32).tiny)
    return -torch.log(-torch.log(uniform))
