"""Gemma 2's layers for one sequence, with about half the operations of the modules' own forward.

With one token, a small model spends most of its time between the operations, and so does a CUDA graph of a large one (a
kernel takes about 2 us, however little it does). The arithmetic is that of gemma.py: the same weights, RMS norms in
float32 with a gain of 1 + weight, soft-capped attention, softmax in float32. With weights of a smaller type, the sums
along the layers are kept in float32, which costs nothing here and rounds less.

Weights that are multiplied by the same input lie one after the other in memory: queries, keys and values are then one
product, and so are the two halves of the MLP. On a CPU, reading the weights takes most of the remaining time: for one
token it is about 1.5 times as fast when they lie transposed (float32, the products of the small model one after the
other). All this is done in place: shapes, values, names and saved files stay the same.
"""

from functools import partial

import torch
import torch.nn.functional as F

from stvla_ros.policy.compiled_parts import Compiler
from stvla_ros.policy.spatialvla.gemma import DecoderLayer, KeyValues, RmsNorm
from stvla_ros.policy.spatialvla.merged_weights import merge_weights
from stvla_ros.policy.spatialvla.model import SpatialVla


class FusedLayers:
    """
    :param model: network on its device; its weights must not change afterwards (the norms' gains are computed once).
    :param compiler: compiler of the operations between the products.
    """

    def __init__(self, model: SpatialVla, compiler: Compiler = Compiler(enabled=False)) -> None:
        text = model.config.text
        self._heads, self._kv_heads, self._head_dim = text.num_attention_heads, text.num_key_value_heads, text.head_dim
        scale, cap, eps = text.query_pre_attn_scalar**-0.5, text.attn_logit_softcapping, text.rms_norm_eps
        self._scale = scale if cap is None else scale / cap
        gemma = model.language_model.model
        transposed = model.device.type == "cpu"
        self._layers = [_Weights(layer, transposed) for layer in gemma.layers]
        self._final_gain = gemma.norm.gain
        self._nothing = torch.zeros((), dtype=model.dtype, device=model.device)
        self._begin = compiler.part(partial(_begin, eps=eps, dtype=model.dtype))
        self._turn_and_keep = compiler.part(partial(_turn_and_keep, heads=self._heads, kv_heads=self._kv_heads))
        self._weigh = compiler.part(partial(_weigh, cap=cap))
        self._join = compiler.part(partial(_join, eps=eps, dtype=model.dtype))
        self._join_last = compiler.part(partial(_join, eps=eps, dtype=torch.float32))
        self._gate = compiler.part(_gate)

    def rotary(self, cos: torch.Tensor, sin: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Cosines and sines of N positions, (N, head_dim) each, arranged so that ``__call__`` takes rows of them: for
        every head of queries, keys and values, (N, heads + 2 kv_heads, 2, head_dim / 2). Values are not rotated. The
        sines already have the sign that the other half of the vector needs.
        """
        count, turning = len(cos), self._heads + self._kv_heads
        half = self._head_dim // 2
        signed = torch.cat([-sin[:, :half], sin[:, half:]], dim=-1)
        cosines = torch.ones(count, turning + self._kv_heads, self._head_dim, dtype=cos.dtype, device=cos.device)
        sines = torch.zeros_like(cosines)
        cosines[:, :turning], sines[:, :turning] = cos[:, None], signed[:, None]
        return cosines.unflatten(-1, (2, half)), sines.unflatten(-1, (2, half))

    def __call__(
        self,
        hidden: torch.Tensor,
        rotary: tuple[torch.Tensor, torch.Tensor],
        mask: torch.Tensor | None,
        slots: torch.Tensor,
        cache: KeyValues,
        last: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """
        :param hidden: (L, E) embeddings of the tokens.
        :param rotary: rows of the result of ``rotary``, for the tokens' positions.
        :param mask: (K,) numbers added to the attention logits of the cache's first K slots; the tokens see no other
            slots. None: the tokens see the L slots from the first on.
        :param slots: (L,) int64, slots of the cache that their keys and values go to. A tensor, so that code compiled
            for one token serves all.
        :param cache: keys and values; slots that the mask does not hide are filled, the others hold finite numbers.
        :param last: (1,) int64, the only token whose answer is wanted; None for all.
        :returns: (L or 1, E) float32 normalised hidden states.
        """
        seen = len(hidden) if mask is None else len(mask)
        hidden, normed = self._begin(hidden, self._layers[0].before)
        for number, (weights, kept) in enumerate(zip(self._layers, cache.layers, strict=True)):
            queries = self._turn_and_keep(normed @ weights.attention, *rotary, kept, slots)
            is_last = number == len(self._layers) - 1
            if last is not None and is_last:
                # In the last layer, only the keys and values of the other tokens are needed.
                queries, hidden = self._only(queries, last), hidden.index_select(0, last)
            attended = self._attend(queries, kept[:, :seen], mask) @ weights.output
            hidden, normed = self._join(hidden, attended, weights.after, weights.before_mlp)
            part = self._gate(normed @ weights.gate_up) @ weights.down
            if is_last:
                hidden, normed = self._join_last(hidden, part, weights.after_mlp, self._final_gain)
            else:
                hidden, normed = self._join(hidden, part, weights.after_mlp, self._layers[number + 1].before)
        return normed

    def _only(self, queries: torch.Tensor, token: torch.Tensor) -> torch.Tensor:
        """The queries of one of the tokens."""
        by_token = queries.unflatten(1, (-1, self._heads // self._kv_heads))
        return by_token.index_select(1, token).flatten(1, 2)

    def _attend(self, queries: torch.Tensor, kept: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        """Attention of queries (kv_heads, L * heads of a group, head_dim) to the cache (2 kv_heads, slots, head_dim):
        (L, heads * head_dim).
        """
        keys, values = kept[: self._kv_heads].transpose(1, 2), kept[self._kv_heads :]
        scores = torch.baddbmm(self._nothing, queries, keys, beta=0, alpha=self._scale)
        attended = torch.bmm(self._weigh(scores) if mask is None else self._weigh(scores, mask), values)
        group = self._heads // self._kv_heads
        attended = attended.view(self._kv_heads, -1, group, self._head_dim).transpose(0, 1)
        return attended.reshape(len(attended), -1)


# The operations between the products, as functions of tensors alone, so that a compiler can take them.


def _begin(hidden: torch.Tensor, gain: torch.Tensor, eps: float, dtype: torch.dtype) -> tuple[torch.Tensor, ...]:
    """The embeddings in float32, and normalised for the first layer's attention."""
    hidden = hidden.float()
    return hidden, F.rms_norm(hidden, gain.shape, gain, eps).to(dtype)


def _turn_and_keep(
    projected: torch.Tensor,
    cos: torch.Tensor,
    sin: torch.Tensor,
    kept: torch.Tensor,
    slots: torch.Tensor,
    heads: int,
    kv_heads: int,
) -> torch.Tensor:
    """Rotate the queries to (kv_heads, L * heads of a group, head_dim), and write keys and values to the cache. The
    query heads of a group share their keys, so a batched product needs no repeated copy of the keys.
    """
    count = len(projected)
    vectors, dim = projected.view(count, *cos.shape[1:]), kept.shape[2]
    turned = torch.addcmul(vectors * cos, vectors.flip(2), sin).view(count, -1, dim)
    kept.index_copy_(1, slots, turned[:, heads:].transpose(0, 1))
    grouped = turned[:, :heads].view(count, kv_heads, -1, dim).transpose(0, 1)
    return grouped.reshape(kv_heads, -1, dim)


def _weigh(scores: torch.Tensor, mask: torch.Tensor | None = None, cap: float | None = None) -> torch.Tensor:
    """Weights of the values from scores, which are already divided by the cap, if any: soft-capped, masked, softmax
    (computed in float32).
    """
    if cap is not None:
        scores = torch.tanh(scores)
        scores = scores.mul_(cap) if mask is None else torch.add(mask, scores, alpha=cap)
    elif mask is not None:
        scores = scores + mask
    return torch.softmax(scores, dim=-1)


def _join(
    hidden: torch.Tensor,
    part: torch.Tensor,
    after: torch.Tensor,
    before: torch.Tensor,
    eps: float,
    dtype: torch.dtype,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Add a part's normalised output to the sum, and normalise the sum for the next part."""
    hidden = hidden + F.rms_norm(part.float(), after.shape, after, eps)
    return hidden, F.rms_norm(hidden, before.shape, before, eps).to(dtype)


def _gate(both: torch.Tensor) -> torch.Tensor:
    gate, up = both.chunk(2, dim=-1)
    return F.gelu(gate, approximate="tanh").mul_(up)


class _Weights:
    """A layer's weights, transposed for products from the right, and its norms' gains."""

    def __init__(self, layer: DecoderLayer, transposed: bool) -> None:
        attention, mlp = layer.self_attn, layer.mlp
        self.attention = merge_weights((attention.q_proj, attention.k_proj, attention.v_proj), transposed).t()
        self.output = merge_weights((attention.o_proj,), transposed).t()
        self.gate_up = merge_weights((mlp.gate_proj, mlp.up_proj), transposed).t()
        self.down = merge_weights((mlp.down_proj,), transposed).t()
        norms: tuple[RmsNorm, ...] = (
            layer.input_layernorm,
            layer.post_attention_layernorm,
            layer.pre_feedforward_layernorm,
            layer.post_feedforward_layernorm,
        )
        self.before, self.after, self.before_mlp, self.after_mlp = (norm.gain for norm in norms)
