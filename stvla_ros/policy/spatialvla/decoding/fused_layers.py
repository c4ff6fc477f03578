"""Gemma 2's layers for one sequence, in about half the operations of the modules' own forward.

With one token, a small model spends its time between the operations and not in them, and so does a CUDA graph of a
large one (a kernel takes about 2 us, however little it does). The arithmetic is that of gemma.py: the same weights,
RMS norms in float32 with a gain of 1 + weight, soft-capped attention, softmax in float32. In a smaller type, the sums
along the layers are kept in float32, which costs nothing here and rounds less.

The weights of what is multiplied by the same input lie one after the other in memory, so that queries, keys and values
are one product, and so are the two halves of the MLP. What is left on a CPU is reading the weights: for one token that
goes about 1.5 times faster when they lie transposed (float32, the products of the small model one after the other). All
this is done in place: shapes, values, names and saved files stay the same.
"""

import torch
import torch.nn.functional as F

from stvla_ros.policy.spatialvla.gemma import DecoderLayer, KeyValues, RmsNorm
from stvla_ros.policy.spatialvla.merged_weights import merge_weights
from stvla_ros.policy.spatialvla.model import SpatialVla


class FusedLayers:
    """:param model: on its device; its weights must not change afterwards (the norms' gains are computed once)."""

    def __init__(self, model: SpatialVla) -> None:
        text = model.config.text
        self._heads, self._kv_heads, self._head_dim = text.num_attention_heads, text.num_key_value_heads, text.head_dim
        self._scale, self._cap = text.query_pre_attn_scalar**-0.5, text.attn_logit_softcapping
        gemma = model.language_model.model
        transposed = model.device.type == "cpu"
        self._layers = [_Weights(layer, transposed) for layer in gemma.layers]
        self._final_gain = gemma.norm.gain
        self._eps = text.rms_norm_eps
        self._dtype = model.dtype
        self._nothing = torch.zeros((), dtype=model.dtype, device=model.device)

    def rotary(self, cos: torch.Tensor, sin: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Cosines and sines of N positions, (N, head_dim) each, as calls want rows of them: for every head of queries,
        keys and values, (N, heads + 2 kv_heads, head_dim); values do not turn. The sines have the sign that the other
        half of a vector comes with.
        """
        count, turning = len(cos), self._heads + self._kv_heads
        half = self._head_dim // 2
        signed = torch.cat([-sin[:, :half], sin[:, half:]], dim=-1)
        cosines = torch.ones(count, turning + self._kv_heads, self._head_dim, dtype=cos.dtype, device=cos.device)
        sines = torch.zeros_like(cosines)
        cosines[:, :turning], sines[:, :turning] = cos[:, None], signed[:, None]
        return cosines, sines

    def __call__(
        self,
        hidden: torch.Tensor,
        rotary: tuple[torch.Tensor, torch.Tensor],
        mask: torch.Tensor | None,
        slot: int,
        cache: KeyValues,
        last: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """
        :param hidden: (L, E) embeddings of the tokens.
        :param rotary: rows of what ``rotary`` gives, for their positions.
        :param mask: (slots,) added to the attention logits of those slots of the cache, of which these tokens then see
            no others; None: they see what came before them and one another.
        :param slot: where in the cache their keys and values go.
        :param cache: what the mask does not hide of it is filled.
        :param last: (1,) int64, the only one of the tokens whose answer is wanted; None for all.
        :returns: (L or 1, E) float32 normalised hidden states.
        """
        hidden = hidden.float()
        seen = slot + len(hidden) if mask is None else len(mask)
        normed = self._norm(hidden, self._layers[0].before)
        for number, (weights, kept) in enumerate(zip(self._layers, cache.layers, strict=True)):
            attended = self._turn_and_keep(normed @ weights.attention, rotary, kept, slot)
            if last is not None and number == len(self._layers) - 1:
                # Of the last layer, the other tokens' keys and values are all that is asked for.
                attended, hidden = attended.index_select(0, last), hidden.index_select(0, last)
            attended = self._attend(attended, kept[:, :seen], mask) @ weights.output
            hidden, normed = self._join(hidden, attended, weights.after, weights.before_mlp)
            gate, up = (normed @ weights.gate_up).chunk(2, dim=-1)
            inner = F.gelu(gate, approximate="tanh").mul_(up)
            is_last = number == len(self._layers) - 1
            following = self._final_gain if is_last else self._layers[number + 1].before
            hidden, normed = self._join(hidden, inner @ weights.down, weights.after_mlp, following, is_last)
        return normed

    def _turn_and_keep(
        self, projected: torch.Tensor, rotary: tuple[torch.Tensor, torch.Tensor], kept: torch.Tensor, slot: int
    ) -> torch.Tensor:
        """Queries (L, heads, head_dim) with their position; keys and values go to the cache."""
        cos, sin = rotary
        vectors = projected.view(len(projected), -1, self._head_dim)
        first, second = vectors.chunk(2, dim=-1)
        turned = torch.addcmul(vectors * cos, torch.cat([second, first], dim=-1), sin)
        kept[:, slot : slot + len(turned)] = turned[:, self._heads :].transpose(0, 1)
        return turned[:, : self._heads]

    def _attend(self, queries: torch.Tensor, kept: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        """(L, heads, head_dim) and (2 kv_heads, slots, head_dim) to (L, heads * head_dim)."""
        count = len(queries)
        # The query heads of a group share their keys: a batched product needs no repeated copy of these.
        grouped = queries.view(count, self._kv_heads, -1, self._head_dim).transpose(0, 1)
        grouped = grouped.reshape(self._kv_heads, -1, self._head_dim)
        keys, values = kept[: self._kv_heads].transpose(1, 2), kept[self._kv_heads :]
        scale = self._scale if self._cap is None else self._scale / self._cap
        scores = torch.baddbmm(self._nothing, grouped, keys, beta=0, alpha=scale)
        if self._cap is not None:
            scores = scores.tanh_()
            scores = scores.mul_(self._cap) if mask is None else torch.add(mask, scores, alpha=self._cap)
        elif mask is not None:
            scores = scores + mask
        # In float32 inside, whatever comes in.
        attended = torch.bmm(torch.softmax(scores, dim=-1), values)
        attended = attended.view(self._kv_heads, count, -1, self._head_dim).transpose(0, 1)
        return attended.reshape(count, -1)

    def _join(
        self, hidden: torch.Tensor, part: torch.Tensor, after: torch.Tensor, before: torch.Tensor, wide: bool = False
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """A part's answer, normalised, is added; and the sum normalised for the next part."""
        hidden = hidden + F.rms_norm(part.float(), after.shape, after, self._eps)
        normed = F.rms_norm(hidden, before.shape, before, self._eps)
        return hidden, normed if wide else normed.to(self._dtype)

    def _norm(self, hidden: torch.Tensor, gain: torch.Tensor) -> torch.Tensor:
        return F.rms_norm(hidden, gain.shape, gain, self._eps).to(self._dtype)


class _Weights:
    """A layer's, transposed for products from the right, and its norms' gains."""

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
