"""A head of its own for traces, parallel to the Ego3D encoding: it adds to the features of the picture's patches.

This head is ours and in no published checkpoint. Its tensors exist only where it was trained (``traces: beside``);
config.json then has ``"trace_head": true``.
"""

import torch
from torch import nn

from stvla_ros.perception.trace_cells import AGE, CELL_NUMBERS, MOTION, SHARE
from stvla_ros.policy.spatialvla.added_layers import added_layers

# Scales of large values: seconds, and metres between two frames of the trace window.
_AGE_S = 2.0
_MOTION_M = 0.05


def patch_cells(cells: torch.Tensor, resolution: int) -> torch.Tensor:
    """The cells of each patch.

    :param cells: (B, C, C, 5) cells, see ``perception/trace_cells.py``.
    :param resolution: number of cells along a side of a patch.
    :returns: (B, P, resolution^2, 5), P = (C / resolution)^2; patches row by row, in each sub-row, sub-column.
    """
    batch, side, _, numbers = cells.shape
    patches = side // resolution
    parted = cells.reshape(batch, patches, resolution, patches, resolution, numbers)
    return parted.permute(0, 1, 3, 2, 4, 5).reshape(batch, patches**2, resolution**2, numbers)


class TraceHead(nn.Module):
    """A network with a new head answers as before (``added_layers``).

    A patch without any stroke gets nothing added, whatever the weights are. So no traces have the same effect as no
    head.

    :param cells: number of cells of a patch, resolution^2.
    :param hidden_size: width of the picture encoder.
    """

    def __init__(self, cells: int, hidden_size: int) -> None:
        super().__init__()
        self._resolution = round(cells**0.5)
        self.layers = added_layers(cells * CELL_NUMBERS, hidden_size)

    def forward(self, cells: torch.Tensor) -> torch.Tensor:
        """(B, C, C, 5) float32 to (B, P, hidden_size)."""
        parted = patch_cells(cells, self._resolution)
        # Bounded: a depth that jumps from an edge to the background is no motion of a metre.
        motion = torch.tanh(parted[..., MOTION] / _MOTION_M)
        age = torch.tanh(parted[..., AGE, None] / _AGE_S)
        numbers = torch.cat([parted[..., SHARE, None], age, motion], dim=-1).flatten(2)
        drawn = (parted[..., SHARE] > 0).any(dim=-1, keepdim=True)
        return self.layers(numbers.to(self.layers[0].weight.dtype)) * drawn
