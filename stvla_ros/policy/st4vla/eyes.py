"""Qwen2.5-VL's picture encoder for pictures of one size, as it is computed while acting.

`transformers` takes any number of pictures of any sizes, and asks the device for numbers on the way. Here what follows
from the size (the order of the windows, positions) is computed once. Equal windows are one product, and the two equal
pictures of a patch are one, multiplied by the sum of their weights. The answers are the same, up to rounding.
"""

import torch
from torch import nn
from torch.nn import functional as F
from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import apply_rotary_pos_emb_vision
from transformers.vision_utils import get_vision_position_ids, get_vision_window_index

from stvla_ros.policy.st4vla.encoder_inputs import MERGED, PATCH, TIMES


class Eyes:
    """
    :param visual: picture encoder, on its device. Its weights may not change afterwards.
    :param size: side of the pictures, pixels.
    """

    def __init__(self, visual: nn.Module, size: int) -> None:
        self._visual = visual
        weight = visual.patch_embed.proj.weight
        self._device, self._dtype = weight.device, weight.dtype
        # Both pictures of a patch are equal.
        self._embedding = weight.float().sum(dim=2).flatten(1).to(weight.dtype)
        side = size // PATCH
        self._patches, self._unit = side * side, MERGED * MERGED
        # Whole numbers of one picture, made on the CPU, where they are read.
        grid = torch.tensor([[1, side, side]])
        order, bounds = get_vision_window_index(grid, MERGED, visual.window_size, PATCH)
        self._windows = (bounds[1:] - bounds[:-1]).tolist()
        self._order, self._back = order.to(self._device), torch.argsort(order).to(self._device)
        positions = get_vision_position_ids(grid, MERGED).to(self._device)
        rotary = visual.rotary_pos_emb(self._embedding, positions)
        self._rotary = tuple(self._by_windows(each[None])[0] for each in rotary)

    def __call__(self, patches: torch.Tensor) -> torch.Tensor:
        """
        :param patches: (N · (S / 14)², 1176) patches, as ``encoder_inputs.patches`` makes them.
        :returns: (N, (S / 28)², E) tokens of the pictures, as the language model gets them.
        """
        visual = self._visual
        once = patches.view(-1, 3, TIMES, PATCH * PATCH)[:, :, 0].flatten(1).to(self._dtype)
        tokens = self._by_windows(F.linear(once, self._embedding).view(-1, self._patches, self._embedding.shape[0]))
        for number, block in enumerate(visual.blocks):
            lengths = [self._patches] if number in visual.fullatt_block_indexes else self._windows
            tokens = tokens + self._attended(block.attn, block.norm1(tokens), lengths)
            tokens = tokens + block.mlp(block.norm2(tokens))
        merged = visual.merger(tokens)
        return merged.view(len(tokens), -1, merged.shape[-1])[:, self._back]

    def _by_windows(self, tokens: torch.Tensor) -> torch.Tensor:
        """(N, P, D), the patches of a window one after another."""
        grouped = tokens.view(len(tokens), -1, self._unit, tokens.shape[-1])
        return grouped[:, self._order].view(tokens.shape)

    def _attended(self, layer: nn.Module, tokens: torch.Tensor, lengths: list[int]) -> torch.Tensor:
        """:param lengths: numbers of patches of the parts of a picture that are attended to by themselves."""
        pictures, count, width = tokens.shape
        parts = layer.qkv(tokens).view(pictures, count, 3, layer.num_heads, -1).unbind(2)
        query, key = apply_rotary_pos_emb_vision(*parts[:2], *self._rotary)
        if len(set(lengths)) == 1:
            shape = (pictures * len(lengths), lengths[0], *query.shape[2:])
            seen = _attention(*(each.reshape(shape) for each in (query, key, parts[2])))
        else:
            split = zip(*(each.split(lengths, dim=1) for each in (query, key, parts[2])), strict=True)
            seen = torch.cat([_attention(*each) for each in split], dim=1)
        return layer.proj(seen.reshape(pictures, count, width))


def _attention(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """Of (N, L, heads, D)."""
    return F.scaled_dot_product_attention(*(each.transpose(1, 2) for each in (query, key, value))).transpose(1, 2)
