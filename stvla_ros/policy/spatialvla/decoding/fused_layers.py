"""Gemma 2's decoder layers for one token at a time, in about half the operations of the modules' own forward.

With one token, a small model spends its time between the operations and not in them, and so does a CUDA graph of a
large one (a kernel takes about 2 us, however little it does). The arithmetic is that of transformers' Gemma 2: the same
weights, RMS norms in float32 with a gain of 1 + weight, soft-capped attention, softmax in float32.

What is left on a CPU is reading the weights. For one token that goes about 1.5 times faster when they lie in memory
transposed (float32, the products of the small model one after the other), so they are laid out that way, in
place; shapes, values and saved files stay the same.
"""

import torch
import torch.nn.functional as F
from torch import nn
from transformers.cache_utils import Cache
from transformers.models.gemma2.modeling_gemma2 import Gemma2DecoderLayer, Gemma2RMSNorm

from stvla_ros.policy.spatialvla.model import SpatialVla


class FusedLayers:
    """:param model: on its device; its weights must not change afterwards (the norms' gains are computed once)."""

    def __init__(self, model: SpatialVla) -> None:
        text = model.config.text
        self._heads, self._kv_heads, self._head_dim = text.num_attention_heads, text.num_key_value_heads, text.head_dim
        self._scale, self._cap = text.query_pre_attn_scalar**-0.5, text.attn_logit_softcapping
        gemma = model.language_model.model
        self._layers = [(layer, self._gains(layer)) for layer in gemma.layers]
        if model.device.type == "cpu":
            for linear in (module for module in gemma.layers.modules() if isinstance(module, nn.Linear)):
                linear.weight.data = linear.weight.data.t().contiguous().t()
        self._final_gain = self._gain(gemma.norm)
        self._eps = text.rms_norm_eps

    def __call__(
        self,
        hidden: torch.Tensor,
        rotary: tuple[torch.Tensor, torch.Tensor],
        mask: torch.Tensor,
        slot: int,
        cache: Cache,
    ) -> torch.Tensor:
        """
        :param hidden: (1, E) embedding of the token.
        :param rotary: cosines and sines of its position, each (1, head_dim).
        :param mask: (slots,) added to the attention logits.
        :param slot: where in the cache its keys and values go.
        :param cache: of ``StaticLayer``s; what the mask does not hide of it is filled.
        :returns: (1, E) normalised hidden state.
        """
        for (layer, (before, after, before_mlp, after_mlp)), kept in zip(self._layers, cache.layers, strict=True):
            attended = self._attend(layer, self._norm(hidden, before), rotary, mask, slot, kept.keys[0], kept.values[0])
            hidden = hidden + self._norm(attended, after)
            hidden = hidden + self._norm(layer.mlp(self._norm(hidden, before_mlp)), after_mlp)
        return self._norm(hidden, self._final_gain)

    def _attend(
        self,
        layer: Gemma2DecoderLayer,
        x: torch.Tensor,
        rotary: tuple[torch.Tensor, torch.Tensor],
        mask: torch.Tensor,
        slot: int,
        keys: torch.Tensor,
        values: torch.Tensor,
    ) -> torch.Tensor:
        """(1, E) to (1, E); keys and values are (kv_heads, slots, head_dim)."""
        attention, (cos, sin) = layer.self_attn, rotary
        rotated = torch.cat([attention.q_proj(x), attention.k_proj(x)], dim=-1).view(-1, self._head_dim)
        first, second = rotated.chunk(2, dim=-1)
        rotated = rotated * cos + torch.cat([-second, first], dim=-1) * sin
        keys[:, slot] = rotated[self._heads :]
        values[:, slot] = attention.v_proj(x).view(-1, self._head_dim)
        # The query heads of a group share their keys: a batched product needs no repeated copy of these.
        queries = rotated[: self._heads].view(self._kv_heads, -1, self._head_dim)
        scores = torch.bmm(queries, keys.transpose(1, 2)) * self._scale
        if self._cap is not None:
            scores = torch.tanh(scores / self._cap) * self._cap
        weights = torch.softmax(scores + mask, dim=-1, dtype=torch.float32).to(x.dtype)
        return attention.o_proj(torch.bmm(weights, values).view(1, -1))

    def _norm(self, x: torch.Tensor, gain: torch.Tensor) -> torch.Tensor:
        return F.rms_norm(x.float(), (x.shape[-1],), gain, self._eps).to(x.dtype)

    def _gains(self, layer: Gemma2DecoderLayer) -> tuple[torch.Tensor, ...]:
        norms = (
            layer.input_layernorm,
            layer.post_attention_layernorm,
            layer.pre_feedforward_layernorm,
            layer.post_feedforward_layernorm,
        )
        return tuple(self._gain(norm) for norm in norms)

    @staticmethod
    def _gain(norm: Gemma2RMSNorm) -> torch.Tensor:
        return 1.0 + norm.weight.float()
