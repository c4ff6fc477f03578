"""A head of its own for an earlier picture: it adds to the features of the newest picture's patches.

This head is ours and in no published checkpoint. Its tensors exist only where it was trained (``earlier_s`` of a
training's options). config.json then has ``"earlier_head": true``, and processor_config.json has ``earlier_picture_s``,
the age of the earlier picture in seconds before the newest one.

The same picture encoder and Ego3D encoding process both pictures, so that nothing has to be learnt twice, and the
language model gets no more tokens than before.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from stvla_ros.errors import InputError
from stvla_ros.policy.spatialvla.added_layers import added_layers
from stvla_ros.policy.spatialvla.sizes import LONGEST_EARLIER_S

EARLIER_S = "earlier_picture_s"


def earlier_seconds(processor: Mapping[str, Any], has_head: bool) -> float:
    """The age of the earlier picture in seconds before the newest one, from processor_config.json; 0 if there is none.

    :param has_head: whether the network has a head for it.
    :raises InputError: when it is not such a number, or does not fit the network.
    """
    seconds = processor.get(EARLIER_S, 0.0)
    number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
    if not number or not 0.0 <= seconds <= LONGEST_EARLIER_S or bool(seconds) != has_head:
        some = f"seconds above 0 and up to {LONGEST_EARLIER_S:g}"
        expected = some if has_head else "none, the network has no earlier_head"
        raise InputError(f"processor_config.json {EARLIER_S}: expected {expected}, got {seconds!r}")
    return float(seconds)


class EarlierHead(nn.Module):
    """A network that gets the head answers as before (``added_layers``).

    :param hidden_size: E, width of the picture encoder.
    """

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.layers = added_layers(2 * hidden_size, hidden_size)

    def forward(self, newest: torch.Tensor, earlier: torch.Tensor) -> torch.Tensor:
        """Features of the same patches in both pictures, (B, P, E) each, to (B, P, E)."""
        features = torch.cat([newest, earlier], dim=-1)
        return self.layers(features.to(self.layers[0].weight.dtype))
