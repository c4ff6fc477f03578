"""ZoeDepth, the paper's depth estimator.

The picture is prepared as inside SpatialVLA, because its position embedding was trained on what comes out of that:
reflect-padding (31 pixels at 224x224), bicubic resize to 384x384 with aligned corners, mean and deviation 0.5; the
depth goes the same way back. ZoeDepth itself pads int(3 sqrt(side / 2)) pixels a side, which is 31 at 224; so that
formula serves any picture and equals SpatialVLA's at its own size. The result has the picture's size and pixel grid:
resizing with aligned corners there and back leaves every pixel in its place.

`transformers`' own image processor resizes to 384x512 with the shape kept, which is not what the policy saw (and
needs torchvision).
"""

import math

import numpy as np
import torch
import torch.nn.functional as F
from transformers import ZoeDepthForDepthEstimation
from transformers.models.beit.modeling_beit import BeitRelativePositionBias

from stvla_ros.devices import memory_for, parse_device, parse_dtype
from stvla_ros.perception.depth.base import DepthEstimator, without_invalid
from stvla_ros.perception.depth.pretrained import load_config, load_depth_model, to_pixels
from stvla_ros.perception.types import check_rgb

NETWORK_SIZE = (384, 384)
_MEAN = _DEVIATION = 0.5
_EXAMPLE = "Intel/zoedepth-nyu-kitti"


def padding(side: int) -> int:
    """Pixels of reflection on either end of a side; at most what there is to reflect."""
    return min(int(3 * math.sqrt(side / 2)), side - 1)


def run_zoedepth(model: ZoeDepthForDepthEstimation, pixels: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """The network between SpatialVLA's preparation of the picture and of the depth.

    :param pixels: (B, 3, H, W) float32 in [0, 1].
    :param dtype: of the network's weights.
    :returns: (B, H, W) float32 metres, as the network gives them: where it is unsure, possibly not positive.
    """
    height, width = pixels.shape[2:]
    pad_y, pad_x = padding(height), padding(width)
    padded = F.pad(pixels, (pad_x, pad_x, pad_y, pad_y), mode="reflect")
    resized = F.interpolate(padded, NETWORK_SIZE, mode="bicubic", align_corners=True)
    depth = model(((resized - _MEAN) / _DEVIATION).to(dtype)).predicted_depth.float()
    depth = F.interpolate(depth[:, None], padded.shape[2:], mode="bicubic", align_corners=True)
    return depth[:, 0, pad_y : pad_y + height, pad_x : pad_x + width]


class _KeptBias(BeitRelativePositionBias):
    """What a layer adds to its attention for how far apart two patches are: always the same, because every picture
    comes in one size. `transformers` makes it anew for each picture and layer, from a table on the host: 24 copies
    that the device waits for.
    """

    _kept: tuple[tuple[object, ...], torch.Tensor] | None = None

    def _apply(self, *given, **named) -> torch.nn.Module:
        self._kept = None  # another type or device
        return super()._apply(*given, **named)

    def forward(self, window_size, interpolate_pos_encoding: bool = False, dim_size=None) -> torch.Tensor:
        asked = (tuple(window_size), interpolate_pos_encoding, dim_size)
        if self._kept is None or self._kept[0] != asked:
            self._kept = asked, super().forward(window_size, interpolate_pos_encoding, dim_size)
        return self._kept[1]


def keep_biases(model: ZoeDepthForDepthEstimation) -> ZoeDepthForDepthEstimation:
    """Have a network that is not trained compute its layers' relative position biases once."""
    for module in model.modules():
        if type(module) is BeitRelativePositionBias:
            module.__class__ = _KeptBias
    return model


class ZoeDepth(DepthEstimator):
    """
    :param checkpoint: a local folder, or an id on the Hugging Face hub.
    :param device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
    :param dtype: ``auto``, ``float32``, ``float16`` or ``bfloat16``, see ``devices.parse_dtype``.
    :raises InputError: for a checkpoint, device or type that cannot be used.
    """

    def __init__(self, checkpoint: str = _EXAMPLE, device: str = "auto", dtype: str = "auto") -> None:
        self._device = parse_device(device, "depth device")
        self._dtype = parse_dtype(dtype, "depth dtype", self._device)
        load_config(ZoeDepthForDepthEstimation, checkpoint, _EXAMPLE)
        model = load_depth_model(ZoeDepthForDepthEstimation, checkpoint, _EXAMPLE, self._device, self._dtype)
        self._model = keep_biases(model)

    @torch.inference_mode()
    def estimate(self, rgb: np.ndarray, sensor_depth: np.ndarray | None = None) -> np.ndarray:
        """See ``DepthEstimator.estimate``; ``sensor_depth`` is not looked at."""
        check_rgb(rgb)
        with memory_for(f"depth on {self._device}"):
            depth = run_zoedepth(self._model, to_pixels(rgb, self._device), self._dtype)[0].cpu()
        return without_invalid(depth.numpy())
