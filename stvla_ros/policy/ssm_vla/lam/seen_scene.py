"""What a camera sees, as tensors, and what the network makes of it: patches, inverse depth, places. Pure functions.

Pixels here are those of ``policy/pictures.py``: the picture covers [0, S), so the centre of a pixel is at i + 0.5.
Camera frames are optical frames (REP-103), metres.
"""

from dataclasses import dataclass

import torch
from torch.nn import functional as F

NEAREST_M = 0.05
"""No camera that watches a robot sees nearer; inverse depth stays below 20 / m."""


@dataclass(frozen=True)
class Scene:
    """N pictures with what lies in them.

    :param rgb: (N, 3, S, S) float32, 0 to 1.
    :param depth: (N, S, S) float32 metres, 0 where unknown.
    :param intrinsics: (N, 3, 3) float32 in pixels of S x S; NaN where unknown.
    """

    rgb: torch.Tensor
    depth: torch.Tensor
    intrinsics: torch.Tensor

    def to(self, device: torch.device) -> "Scene":
        return Scene(self.rgb.to(device), self.depth.to(device), self.intrinsics.to(device))

    def resized(self, size: int) -> "Scene":
        """Of another side: colours averaged, of depths the nearest, intrinsics along."""
        if (side := self.rgb.shape[-1]) == size:
            return self
        intrinsics = self.intrinsics.clone()
        intrinsics[:, :2] *= size / side
        way = {"mode": "area"} if size < side else {"mode": "bilinear", "align_corners": False}
        rgb = F.interpolate(self.rgb, size=(size, size), **way)
        depth = F.interpolate(self.depth[:, None], size=(size, size), mode="nearest-exact")[:, 0]
        return Scene(rgb, depth, intrinsics)


def patched(pictures: torch.Tensor, patch: int) -> torch.Tensor:
    """(N, C, S, S) to (N, P, C patch²): patches row by row; in each colour, row, column."""
    number, colours, side, _ = pictures.shape
    cut = pictures.reshape(number, colours, side // patch, patch, side // patch, patch)
    return cut.permute(0, 2, 4, 1, 3, 5).reshape(number, (side // patch) ** 2, -1)


def unpatched(patches: torch.Tensor, patch: int) -> torch.Tensor:
    """The reverse of :func:`patched`."""
    number, count, numbers = patches.shape
    side, colours = round(count**0.5), numbers // patch**2
    cut = patches.reshape(number, side, side, colours, patch, patch)
    return cut.permute(0, 3, 1, 4, 2, 5).reshape(number, colours, side * patch, side * patch)


def inverse_depth(depth: torch.Tensor) -> torch.Tensor:
    """Metres to 1 / metres, of any shape; 0 where unknown, as what is infinitely far."""
    return torch.where(depth > 0, 1.0 / depth.clamp(min=NEAREST_M), torch.zeros_like(depth))


def patch_centres(depth: torch.Tensor, intrinsics: torch.Tensor, patch: int) -> torch.Tensor:
    """Where the middle of each patch lies: its pixel, back-projected to the mean of the known depths of the patch.

    :param depth: (N, S, S) metres, 0 where unknown.
    :param intrinsics: (N, 3, 3) in its pixels, NaN where unknown.
    :returns: (N, P, 4): x y z in metres, and the share of the patch whose depth is known. All 0 where none is. Without
        intrinsics x and y are 0.
    """
    side = depth.shape[-1] // patch
    flat = patched(depth[:, None], patch)
    known = (flat > 0).float()
    z = flat.sum(dim=-1) / known.sum(dim=-1).clamp(min=1.0)
    middles = (torch.arange(side, device=depth.device, dtype=torch.float32) + 0.5) * patch
    v, u = (each.reshape(1, -1) for each in torch.meshgrid(middles, middles, indexing="ij"))
    x = (u - intrinsics[:, 0, 2, None]) / intrinsics[:, 0, 0, None] * z
    y = (v - intrinsics[:, 1, 2, None]) / intrinsics[:, 1, 1, None] * z
    return torch.stack([x.nan_to_num(), y.nan_to_num(), z, known.mean(dim=-1)], dim=-1)
