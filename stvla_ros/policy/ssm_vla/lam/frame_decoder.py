"""From the current frame and a latent action to the keyframe: what changes in colour and in depth."""

from dataclasses import dataclass

import torch
from torch import nn

from stvla_ros.policy.ssm_vla.lam.blocks import Entrance, SpaceBlock
from stvla_ros.policy.ssm_vla.lam.seen_scene import Scene, inverse_depth, patched, unpatched


@dataclass(frozen=True)
class Rebuilt:
    """T keyframes of B clips, as the codes tell them.

    :param rgb: (B, T, 3, S, S), about 0 to 1: the current picture and the change that was predicted.
    :param inverse: (B, T, S, S) inverse depth, 1 / metres, likewise; None of a model without depth.
    """

    rgb: torch.Tensor
    inverse: torch.Tensor | None

    def depth(self) -> torch.Tensor | None:
        """(B, T, S, S) depth; 0 where it is unknown, as where the current depth is and no other was predicted."""
        if self.inverse is None:
            return None
        near = self.inverse
        return torch.where(near > _FAINT, 1.0 / near.clamp(min=_FAINT), torch.zeros_like(near))


# Inverse depths below it are beyond what a robot's camera measures, 50 m.
_FAINT = 0.02


class FrameDecoder(nn.Module):
    """Sees the codes, and the current frame's patches; no other frame. One way for training and for showing.

    :param picture_size: side of the pictures, pixels.
    :param patch: side of a patch, pixels.
    :param width: width of the tokens.
    :param heads: heads of the attention.
    :param layers: number of blocks.
    :param codes: number of codes of a keyframe, Q.
    :param code_width: numbers of a code, C.
    :param keyframes: number of keyframes, T.
    :param rebuilds_depth: whether depth is rebuilt, too.
    """

    def __init__(
        self,
        picture_size: int,
        patch: int,
        width: int,
        heads: int,
        layers: int,
        codes: int,
        code_width: int,
        keyframes: int,
        rebuilds_depth: bool,
    ) -> None:
        super().__init__()
        self._queries, self._patches, self._patch = codes, (picture_size // patch) ** 2, patch
        cell = patch**2
        self.codes = nn.Linear(code_width, width)
        self.rgb = nn.Linear(3 * cell, width)
        self.depth = nn.Linear(2 * cell, width) if rebuilds_depth else None
        self.keyframes = nn.Parameter(0.02 * torch.randn(keyframes, 1, width))
        kinds = 2 if rebuilds_depth else 1
        self.entrance = Entrance(width, width, codes + kinds * self._patches + 1)
        self.blocks = nn.ModuleList(SpaceBlock(width, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.rgb_change = nn.Linear(width, 3 * cell)
        self.depth_change = nn.Linear(width, cell) if rebuilds_depth else None

    def start_still(self) -> None:
        """Predict no change, to begin with."""
        for head in (self.rgb_change, self.depth_change):
            if head is not None:
                nn.init.zeros_(head.weight)
                nn.init.zeros_(head.bias)

    def forward(self, now: Scene, codes: torch.Tensor) -> Rebuilt:
        """
        :param now: the current frames of B clips.
        :param codes: (B, T, Q, C).
        """
        batch, keyframes = codes.shape[:2]
        colours = self.rgb(patched(2.0 * now.rgb - 1.0, self._patch))
        parts = [self.codes(codes.to(colours)).flatten(0, 1), _each(colours, keyframes)]
        near = inverse_depth(now.depth)[:, None]
        if self.depth is not None:
            # Unknown is not infinitely far.
            told = torch.cat([near, (now.depth[:, None] > 0).to(near)], dim=1)
            parts.append(_each(self.depth(patched(told, self._patch)), keyframes))
        parts.append(self.keyframes.to(colours).expand(batch, -1, -1, -1).flatten(0, 1))
        hidden = self.entrance(torch.cat(parts, dim=1))
        for block in self.blocks:
            hidden = block(hidden)
        hidden = self.norm(hidden[:, self._queries : -1])
        change = unpatched(self.rgb_change(hidden[:, : self._patches]).float(), self._patch)
        rgb = now.rgb[:, None] + change.unflatten(0, (batch, keyframes))
        if self.depth_change is None:
            return Rebuilt(rgb, None)
        nearer = unpatched(self.depth_change(hidden[:, self._patches :]).float(), self._patch)
        return Rebuilt(rgb, near + nearer[:, 0].unflatten(0, (batch, keyframes)))


def _each(tokens: torch.Tensor, keyframes: int) -> torch.Tensor:
    """(B, P, D) once for each keyframe, (B T, P, D)."""
    return tokens.repeat_interleave(keyframes, dim=0)
