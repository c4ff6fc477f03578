"""The layers of the heads that no published checkpoint has (trace_head.py, earlier_head.py)."""

from torch import nn


def added_layers(inputs: int, hidden_size: int) -> nn.Sequential:
    """Two linear layers from ``inputs`` numbers to ``hidden_size``. The last one is zero at the start, so that a
    network with a new head answers as before.
    """
    layers = nn.Sequential(
        nn.Linear(inputs, hidden_size), nn.LayerNorm(hidden_size), nn.ReLU(), nn.Linear(hidden_size, hidden_size)
    )
    nn.init.xavier_uniform_(layers[0].weight)
    nn.init.zeros_(layers[0].bias)
    nn.init.zeros_(layers[3].weight)
    nn.init.zeros_(layers[3].bias)
    return layers
