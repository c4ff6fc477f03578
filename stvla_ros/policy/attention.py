"""Attention, in the way that is fastest on each kind of device."""

import torch
import torch.nn.functional as F


def attend(
    queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, mask: torch.Tensor | None = None
) -> torch.Tensor:
    """
    :param queries, keys, values: (B, heads, L, width of a head) each.
    :param mask: (B, heads, L, L) bool or a shape that broadcasts to it, True where a row may look; None for everywhere.
        Every row must be allowed to look somewhere.
    :returns: (B, heads, L, width of a head).
    """
    if queries.device.type != "cpu":
        return F.scaled_dot_product_attention(queries, keys, values, mask)
    # On a CPU, two products and a softmax are faster than torch's one operation.
    scores = queries * queries.shape[-1] ** -0.5 @ keys.transpose(-1, -2)
    if mask is not None:
        scores = scores.masked_fill(~mask, float("-inf"))
    return torch.softmax(scores, dim=-1, dtype=torch.float32).to(values.dtype) @ values
