"""One picture with depth and an instruction, for the tests that ask the tiny checkpoint."""

from typing import Any

import numpy as np
from tiny_checkpoint import depth_map, picture

# The tiny checkpoint's data sets.
BRIDGE, FRACTAL = "bridge_orig/1.0.0", "fractal20220817_data/0.1.0"
# In pixels of the 224x224 picture; not the checkpoint's own.
CAMERA = np.array([[250.0, 0, 115], [0, 260.0, 108], [0, 0, 1]])


def arguments(**changed: Any) -> dict[str, Any]:
    """Arguments of ``predict``, some of them changed."""
    usual = {"rgb": picture(1), "instruction": "put the spoon on towel", "depth": depth_map(), "unnorm_key": BRIDGE}
    return {**usual, **changed}
