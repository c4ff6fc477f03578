"""The second picture encoder: `transformers`' DINOv2 under the names, and with the positions, of DINOv2's own code.

The tensors are renamed to DINOv2's names when weights are saved, and back when they are loaded; inside they have
`transformers`' names.
"""

import re
from collections.abc import MutableMapping
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from transformers import Dinov2Config, Dinov2Model
from transformers.models.dinov2.modeling_dinov2 import Dinov2Embeddings

# transformers' names (left) and the published ones, except those of the queries, keys and values.
_TO_PUBLISHED = (
    (r"^embeddings\.position_embeddings$", "pos_embed"),
    (r"^embeddings\.(cls_token|mask_token)$", r"\1"),
    (r"^embeddings\.patch_embeddings\.projection\.", "patch_embed.proj."),
    (r"^encoder\.layer\.(\d+)\.attention\.o_proj\.", r"blocks.\1.attn.proj."),
    (r"^encoder\.layer\.(\d+)\.layer_scale([12])\.lambda1$", r"blocks.\1.ls\2.gamma"),
    (r"^encoder\.layer\.", "blocks."),
    (r"^layernorm\.", "norm."),
)
_PART = re.compile(r"^encoder\.layer\.(\d+)\.attention\.([qkv])_proj\.(weight|bias)$")
_PARTS = "qkv"
# DINOv2 scales its positions by this much more than the number of patches requires.
_OFFSET = 0.1


class PublishedEmbeddings(Dinov2Embeddings):
    """Positions are resized by a factor that is a little too large, as in DINOv2's own code. `transformers` resizes
    them to the exact size; the difference is 1 % of their scale.
    """

    def interpolate_pos_encoding(self, embeddings: torch.Tensor, height: int, width: int) -> torch.Tensor:
        side = round((self.position_embeddings.shape[1] - 1) ** 0.5)
        rows, columns = (length // self.config.patch_size for length in (height, width))
        if rows == columns == side:
            return self.position_embeddings
        known = self.position_embeddings[:, 1:].float().unflatten(1, (side, side)).permute(0, 3, 1, 2)
        factors = ((rows + _OFFSET) / side, (columns + _OFFSET) / side)
        resized = F.interpolate(known, scale_factor=factors, mode="bicubic").flatten(2).transpose(1, 2)
        return torch.cat([self.position_embeddings[:, :1], resized.to(self.position_embeddings.dtype)], dim=1)


class DinoBody(nn.Module):
    """DINOv2 with the published tensor names."""

    def __init__(self, config: Dinov2Config) -> None:
        super().__init__()
        self.network = Dinov2Model(config)
        self.network.embeddings = PublishedEmbeddings(config)
        self.register_state_dict_post_hook(_publish)
        self.register_load_state_dict_pre_hook(_unpublish)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.network(pixels).last_hidden_state[:, 1:]


class DinoEncoder(nn.Module):
    """:param config: configuration of the network, whose patches have 14 pixels a side."""

    def __init__(self, config: Dinov2Config) -> None:
        super().__init__()
        self.body = DinoBody(config)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """
        :param pixels: (N, 3, S, S) pictures, normalised by ImageNet's mean and deviation.
        :returns: (N, (S / 14)², width) features of the patches, after the last norm.
        """
        return self.body(pixels)


def _publish(module: nn.Module, state: MutableMapping[str, torch.Tensor], prefix: str, _: Any) -> None:
    """Rename the tensors of a state, in place."""
    own = f"{prefix}network."
    parts: dict[str, dict[str, torch.Tensor]] = {}
    for name in [name for name in state if name.startswith(own)]:
        tensor = state.pop(name)
        inner = name.removeprefix(own)
        if part := _PART.match(inner):
            block, which, kind = part.groups()
            joined = f"{prefix}blocks.{block}.attn.qkv.{kind}"
            parts.setdefault(joined, {})[which] = tensor
            if len(parts[joined]) == len(_PARTS):
                state[joined] = torch.cat([parts[joined][each] for each in _PARTS])
        else:
            state[prefix + _published(inner)] = tensor


def _unpublish(module: nn.Module, state: MutableMapping[str, torch.Tensor], prefix: str, *_: Any) -> None:
    """The reverse. Unknown names are left, for the loading to complain about."""
    inner_names = [name for name, _ in module.network.named_parameters()]
    for inner in inner_names:
        if part := _PART.match(inner):
            block, which, kind = part.groups()
            joined = state.get(f"{prefix}blocks.{block}.attn.qkv.{kind}")
            if joined is not None and len(joined) % len(_PARTS) == 0:
                state[f"{prefix}network.{inner}"] = joined.chunk(len(_PARTS))[_PARTS.index(which)]
        elif (published := prefix + _published(inner)) in state:
            state[f"{prefix}network.{inner}"] = state.pop(published)
    for inner in inner_names:
        if part := _PART.match(inner):
            state.pop(f"{prefix}blocks.{part.group(1)}.attn.qkv.{part.group(3)}", None)


def _published(inner: str) -> str:
    for pattern, replacement in _TO_PUBLISHED:
        inner = re.sub(pattern, replacement, inner)
    return inner
