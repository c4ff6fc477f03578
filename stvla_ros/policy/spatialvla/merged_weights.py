"""Places the weights of layers with the same input one after the other in memory: one product instead of several.
Shapes, values, names and saved files stay the same.
"""

from collections.abc import Sequence

import torch
from torch import nn


def merge_weights(layers: Sequence[nn.Linear], transposed: bool = False) -> torch.Tensor:
    """Lay the weights together, in place. If they already lie so, nothing is done.

    :param transposed: whether the weights are stored column by column.
    :returns: all of the weights, (sum of outputs, inputs); the layers' own weights are its rows.
    """
    if not all(type(layer) is nn.Linear for layer in layers):
        raise ValueError("expected plain linear layers: adapters are merged into their weights before")
    first, rows = layers[0].weight.data, sum(layer.out_features for layer in layers)
    stride = (1, rows) if transposed else (first.shape[1], 1)
    if _lie_together(layers, stride):
        return first.as_strided((rows, first.shape[1]), stride)
    merged = torch.cat([layer.weight.data for layer in layers])
    merged = merged.t().contiguous().t() if transposed else merged
    for layer, own in zip(layers, merged.split([layer.out_features for layer in layers]), strict=True):
        layer.weight.data = own
    return merged


def _lie_together(layers: Sequence[nn.Linear], stride: tuple[int, int]) -> bool:
    first, end = layers[0].weight, layers[0].weight.storage_offset()
    for weight in (layer.weight for layer in layers):
        # Addresses would not do: on torch's meta device there are none.
        same = weight.untyped_storage()._cdata == first.untyped_storage()._cdata
        if not same or weight.stride() != stride or weight.storage_offset() != end:
            return False
        end += len(weight) * stride[0]
    return True
