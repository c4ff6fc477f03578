"""Ego3D position encoding: where each patch of the picture lies in front of the camera.

Pure functions on tensors, then the learned part. Pixels here are SpatialVLA's: the picture covers [0, S), so the centre
of a cell of side c is at (i + 0.5) c, and intrinsics scale by plain multiplication (as the reference does: half a
source pixel off perception/geometry.py's convention, but the published weights were trained with it). Camera frames are
optical frames (REP-103): x right, y down, z forward, metres.
"""

import torch
import torch.nn.functional as F
from torch import nn

# Middle of the working space that the encoding covers, x y z in metres, and half its extent (reference model).
CENTRE = (0.0, 0.0, 2.0)
HALF_EXTENT = 2.0


def back_project_patches(
    depth: torch.Tensor, intrinsics: torch.Tensor, patch_size: int, resolution: int
) -> torch.Tensor:
    """Points of every patch: the depth is averaged over cells of patch_size / resolution pixels, and the centre of
    each cell goes to z K^-1 [u, v, 1].

    :param depth: (B, S, S) float32 metres.
    :param intrinsics: (B, 3, 3) float32 in pixels of the depth map.
    :param resolution: number of cells along a side of a patch.
    :returns: (B, P, 3 resolution^2) float32 metres; patches row by row, in each sub-row, sub-column, xyz.
    """
    batch, side = depth.shape[0], depth.shape[-1]
    cell, patches = patch_size // resolution, side // patch_size
    cells = patches * resolution
    z = F.interpolate(depth[:, None], size=(cells, cells), mode="area").reshape(batch, 1, -1)
    centres = (torch.arange(cells, device=depth.device, dtype=torch.float32) + 0.5) * cell
    v, u = torch.meshgrid(centres, centres, indexing="ij")
    # K is upper triangular without skew: its inverse needs no solver (which a CUDA graph could not capture).
    x = (u.reshape(1, -1) - intrinsics[:, 0, 2:3]) / intrinsics[:, 0, 0:1]
    y = (v.reshape(1, -1) - intrinsics[:, 1, 2:3]) / intrinsics[:, 1, 1:2]
    points = torch.stack([x, y, torch.ones_like(x)], dim=1) * z
    points = points.reshape(batch, 3, patches, resolution, patches, resolution)
    return points.permute(0, 2, 4, 3, 5, 1).reshape(batch, patches**2, -1)


class Ego3dPositionEmbedding(nn.Module):
    """Sines and cosines of the points' coordinates, then two linear layers.

    :param num_coordinates: number of coordinates of a patch (3 resolution^2).
    :param hidden_size: width of the picture encoder.
    :param num_frequencies: number n of frequencies 2^0 … 2^(n-1), in radians per normalised unit.
    """

    def __init__(self, num_coordinates: int, hidden_size: int, num_frequencies: int) -> None:
        super().__init__()
        self.register_buffer("frequencies", 2.0 ** torch.arange(num_frequencies), persistent=False)
        self.register_buffer("centre", torch.tensor(CENTRE).repeat(num_coordinates // 3), persistent=False)
        self.position_embedding_head = nn.Sequential(
            nn.Linear(num_coordinates * (2 * num_frequencies + 1), hidden_size),
            nn.LayerNorm(hidden_size),
            nn.ReLU(),
            nn.Linear(hidden_size, hidden_size),
        )
        for layer in (self.position_embedding_head[0], self.position_embedding_head[3]):
            # Small at the start: a pretrained picture encoder's output is at first almost unchanged (reference model).
            nn.init.xavier_uniform_(layer.weight, gain=0.01)

    def forward(self, points: torch.Tensor) -> torch.Tensor:
        """(B, P, num_coordinates) float32 metres to (B, P, hidden_size)."""
        normalised = (points - self.centre) / HALF_EXTENT
        angles = normalised[..., None] * self.frequencies
        encoding = torch.cat([normalised[..., None], angles.sin(), angles.cos()], dim=-1).flatten(2)
        return self.position_embedding_head(encoding.to(self.position_embedding_head[0].weight.dtype))
