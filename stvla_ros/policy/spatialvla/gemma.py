"""Gemma 2 (arXiv 2408.00118), SpatialVLA's language model: soft-capped attention, norms before and after each part.

`transformers` has this module, too. But it loads a compiler and a library of distributed tensors (80 MB, a second) into
every server, and decoding needs the weights in another order (decoding/fused_layers.py). The tensors have the published
names. The tests compare this module with `transformers`' forward.
"""

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint
from transformers import Gemma2Config


class KeyValues:
    """Keys and values of the tokens so far, of every layer.

    :param config: configuration of the model.
    :param slots: number of tokens that there is room for, in one allocation; 0: the cache grows by copying.
    """

    def __init__(self, config: Gemma2Config, slots: int, dtype: torch.dtype, device: torch.device) -> None:
        self.slots, self._heads = slots, config.num_key_value_heads
        shape = (config.num_hidden_layers, 2 * self._heads, slots, config.head_dim)
        self._all = torch.zeros(shape, dtype=dtype, device=device)
        self.layers = list(self._all)

    def forget(self, slot: int) -> None:
        """Set all slots from ``slot`` on to zero. Attention weights of 0 do not hide NaN."""
        self._all[:, :, slot:].zero_()

    def add(self, layer: int, keys: torch.Tensor, values: torch.Tensor, slot: int) -> tuple[torch.Tensor, torch.Tensor]:
        """
        :param keys: (1, kv_heads, L, head_dim).
        :param values: (1, kv_heads, L, head_dim).
        :param slot: slot of the first of them, right after the tokens that are there.
        :returns: keys and values of all tokens up to these, (1, kv_heads, slot + L, head_dim) each.
        """
        new, end = torch.cat([keys[0], values[0]]), slot + keys.shape[2]
        if self.slots:
            self.layers[layer][:, slot:end] = new
        else:
            self.layers[layer] = torch.cat([self.layers[layer][:, :slot], new], dim=1)
        kept = self.layers[layer][None, :, :end]
        return kept[:, : self._heads], kept[:, self._heads :]


class RmsNorm(nn.Module):
    """RMS norm, computed in float32 for inputs of any type, with a gain of 1 + weight."""

    def __init__(self, size: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(size))
        self.eps = eps

    @property
    def gain(self) -> torch.Tensor:
        """(size,) float32."""
        return 1.0 + self.weight.float()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.device.type == "cpu" and torch.is_grad_enabled():
            return _TrainedRmsNorm.apply(x, self.gain, self.eps)
        return F.rms_norm(x.float(), (x.shape[-1],), self.gain, self.eps).type_as(x)


class _TrainedRmsNorm(torch.autograd.Function):
    """The RMS norm with a gradient of its own. On a CPU torch differentiates this norm operation by operation, which
    takes four times as long and keeps the result of each. With y = g h and h = x / rms(x): dx = (dh - h mean(h dh)) /
    rms(x) where dh = g dy, and dg = sum(h dy).
    """

    @staticmethod
    def forward(context, x: torch.Tensor, gain: torch.Tensor, eps: float) -> torch.Tensor:
        """x (…, E) of any type, gain (E,) float32."""
        whole = x.float()
        square = torch.linalg.vector_norm(whole, dim=-1, keepdim=True).square_()
        inverse = square.div_(x.shape[-1]).add_(eps).rsqrt_()
        context.save_for_backward(x, gain, inverse)
        return (whole * inverse).mul_(gain).type_as(x)

    @staticmethod
    def backward(context, gradient: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None, None]:
        x, gain, inverse = context.saved_tensors
        normed, gradient = x.float() * inverse, gradient.float()
        of_gain = (gradient * normed).flatten(0, -2).sum(dim=0) if context.needs_input_grad[1] else None
        inner = gradient * gain
        common = (inner * normed).mean(dim=-1, keepdim=True)
        return inner.addcmul_(normed, common, value=-1).mul_(inverse).type_as(x), of_gain, None


class GroupedAttention(nn.Module):
    def __init__(self, config: Gemma2Config) -> None:
        super().__init__()
        self._heads, self._kv_heads, self._head_dim = (
            config.num_attention_heads,
            config.num_key_value_heads,
            config.head_dim,
        )
        self._scale, self._cap = config.query_pre_attn_scalar**-0.5, config.attn_logit_softcapping
        hidden, dim = config.hidden_size, config.head_dim
        self.q_proj = nn.Linear(hidden, self._heads * dim, bias=False)
        self.k_proj = nn.Linear(hidden, self._kv_heads * dim, bias=False)
        self.v_proj = nn.Linear(hidden, self._kv_heads * dim, bias=False)
        self.o_proj = nn.Linear(self._heads * dim, hidden, bias=False)

    def forward(
        self,
        x: torch.Tensor,
        rotary: tuple[torch.Tensor, torch.Tensor],
        mask: torch.Tensor | None,
        cache: KeyValues | None,
        place: tuple[int, int],
    ) -> torch.Tensor:
        """:param place: layer and slot of the cache. The other parameters are those of ``Gemma.forward``."""
        shape = (*x.shape[:-1], -1, self._head_dim)
        queries, keys, values = (
            project(x).view(shape).transpose(1, 2) for project in (self.q_proj, self.k_proj, self.v_proj)
        )
        queries, keys = _turn(queries, rotary), _turn(keys, rotary)
        if cache is not None:
            keys, values = cache.add(place[0], keys, values, place[1])
        # The query heads of a group share their keys.
        grouped = queries.unflatten(1, (self._kv_heads, -1))
        scores = grouped @ keys[:, :, None].transpose(-1, -2) * self._scale
        if self._cap is not None:
            scores = torch.tanh(scores / self._cap) * self._cap
        if mask is not None:
            scores = scores + mask[:, :, None]
        weights = torch.softmax(scores, dim=-1, dtype=torch.float32).to(values.dtype)
        attended = (weights @ values[:, :, None]).flatten(1, 2)
        return self.o_proj(attended.transpose(1, 2).flatten(2))


def _turn(x: torch.Tensor, rotary: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    """Apply rotary positions (arXiv 2104.09864): (B, heads, L, head_dim), with cosines and sines (B, L, head_dim)."""
    cos, sin = (each[:, None] for each in rotary)
    first, second = x.chunk(2, dim=-1)
    return x * cos + torch.cat([-second, first], dim=-1) * sin


class GatedMlp(nn.Module):
    def __init__(self, config: Gemma2Config) -> None:
        super().__init__()
        hidden, inner = config.hidden_size, config.intermediate_size
        self.gate_proj = nn.Linear(hidden, inner, bias=False)
        self.up_proj = nn.Linear(hidden, inner, bias=False)
        self.down_proj = nn.Linear(inner, hidden, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.down_proj(F.gelu(self.gate_proj(x), approximate="tanh") * self.up_proj(x))


class DecoderLayer(nn.Module):
    def __init__(self, config: Gemma2Config) -> None:
        super().__init__()
        self.input_layernorm = RmsNorm(config.hidden_size, config.rms_norm_eps)
        self.self_attn = GroupedAttention(config)
        self.post_attention_layernorm = RmsNorm(config.hidden_size, config.rms_norm_eps)
        self.pre_feedforward_layernorm = RmsNorm(config.hidden_size, config.rms_norm_eps)
        self.mlp = GatedMlp(config)
        self.post_feedforward_layernorm = RmsNorm(config.hidden_size, config.rms_norm_eps)

    def forward(
        self,
        hidden: torch.Tensor,
        rotary: tuple[torch.Tensor, torch.Tensor],
        mask: torch.Tensor | None,
        cache: KeyValues | None,
        place: tuple[int, int],
    ) -> torch.Tensor:
        attended = self.self_attn(self.input_layernorm(hidden), rotary, mask, cache, place)
        hidden = hidden + self.post_attention_layernorm(attended)
        return hidden + self.post_feedforward_layernorm(self.mlp(self.pre_feedforward_layernorm(hidden)))


class Gemma(nn.Module):
    """The layers and the last norm. B sequences, L tokens, E = width, K visible slots of the cache.

    :param tokens: rows of the embedding table; 0 for no table.
    """

    def __init__(self, config: Gemma2Config, tokens: int) -> None:
        super().__init__()
        if tokens:
            self.embed_tokens = nn.Embedding(tokens, config.hidden_size)
        self.layers = nn.ModuleList(DecoderLayer(config) for _ in range(config.num_hidden_layers))
        self.norm = RmsNorm(config.hidden_size, config.rms_norm_eps)
        powers = torch.arange(0, config.head_dim, 2, dtype=torch.float32) / config.head_dim
        self.register_buffer("_frequencies", 1.0 / config.rope_parameters["rope_theta"] ** powers, persistent=False)
        self.gradient_checkpointing = False

    def rotary(self, positions: torch.Tensor, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
        """(…, L) positions to cosines and sines, each (…, L, head_dim)."""
        angles = positions[..., None].float() * self._frequencies
        angles = torch.cat([angles, angles], dim=-1)
        return angles.cos().to(dtype), angles.sin().to(dtype)

    def forward(
        self,
        embeddings: torch.Tensor,
        positions: torch.Tensor,
        mask: torch.Tensor | None,
        cache: KeyValues | None = None,
        slot: int = 0,
    ) -> torch.Tensor:
        """
        :param embeddings: (B, L, E).
        :param positions: (B, L), from 1 on.
        :param mask: (B or 1, 1, L or 1, K) added to the attention logits; None: all see all.
        :param cache: cache that keys and values are added to; None for no cache.
        :param slot: slot of the first of these tokens in the cache: K = slot + L.
        :returns: (B, L, E) normalised hidden states.
        """
        hidden, rotary = embeddings, self.rotary(positions, embeddings.dtype)
        for number, layer in enumerate(self.layers):
            given = (hidden, rotary, mask, cache, (number, slot))
            if self.gradient_checkpointing and torch.is_grad_enabled():
                hidden = checkpoint(layer, *given, use_reentrant=False)
            else:
                hidden = layer(*given)
        return self.norm(hidden)


class LanguageModel(nn.Module):
    """:param tokens: rows of the embedding table. :param scored: rows of the head."""

    def __init__(self, config: Gemma2Config, tokens: int, scored: int) -> None:
        super().__init__()
        self.model = Gemma(config, tokens)
        self.lm_head = nn.Linear(config.hidden_size, scored, bias=False)
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=config.initializer_range)
