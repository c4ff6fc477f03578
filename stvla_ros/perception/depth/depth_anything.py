"""Depth Anything (V2), metric checkpoints.

Pictures are prepared as its authors do: the shorter side to ``network_size``, both sides to multiples of the patch,
normalised with ImageNet's mean and deviation. The depth is interpolated back to the picture's size.
"""

import numpy as np
import torch
import torch.nn.functional as F
from transformers import DepthAnythingForDepthEstimation

from stvla_ros.devices import memory_for, parse_device, parse_dtype, wait_for_device
from stvla_ros.errors import InputError
from stvla_ros.perception.depth.base import DepthEstimator, without_invalid
from stvla_ros.perception.depth.networks import DEPTH_ANYTHING_EXAMPLE
from stvla_ros.perception.depth.pretrained import load_config, load_depth_model, to_pixels
from stvla_ros.perception.types import check_rgb

_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's


class DepthAnything(DepthEstimator):
    """
    :param checkpoint: local folder, or id on the Hugging Face hub; must be a metric one.
    :param device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
    :param dtype: ``auto``, ``float32``, ``float16`` or ``bfloat16``, see ``devices.parse_dtype``.
    :param network_size: pixels of the shorter side inside the network; smaller is faster and coarser.
    :raises InputError: for a checkpoint, device, type or size that cannot be used. A relative checkpoint is refused:
        its numbers are no metres, and no factor converts them.
    """

    def __init__(
        self,
        checkpoint: str = DEPTH_ANYTHING_EXAMPLE,
        device: str = "auto",
        dtype: str = "auto",
        network_size: int = 518,
    ) -> None:
        self._device = parse_device(device, "depth device")
        self._dtype = parse_dtype(dtype, "depth dtype", self._device)
        config = load_config(DepthAnythingForDepthEstimation, checkpoint, DEPTH_ANYTHING_EXAMPLE)
        if config.depth_estimation_type != "metric":
            raise InputError(
                f"depth checkpoint {checkpoint}: expected a metric one, such as {DEPTH_ANYTHING_EXAMPLE}, "
                f"got depth_estimation_type {config.depth_estimation_type!r}, which gives no metres"
            )
        self._patch = int(config.patch_size)
        if not self._patch <= network_size <= 4096:
            raise InputError(f"depth network_size: expected {self._patch} to 4096 pixels, got {network_size}")
        self._network_size = network_size
        self._model = load_depth_model(
            DepthAnythingForDepthEstimation, checkpoint, DEPTH_ANYTHING_EXAMPLE, self._device, self._dtype
        )
        self._mean, self._deviation = (
            torch.tensor(values, device=self._device)[:, None, None] for values in (_MEAN, _DEVIATION)
        )

    @torch.inference_mode()
    def estimate(self, rgb: np.ndarray, sensor_depth: np.ndarray | None = None) -> np.ndarray:
        """See ``DepthEstimator.estimate``; ``sensor_depth`` is ignored."""
        check_rgb(rgb)
        with memory_for(f"depth on {self._device}"):
            depth = self._run(rgb)
            wait_for_device(self._device)
            return without_invalid(depth.cpu().numpy())

    def _run(self, rgb: np.ndarray) -> torch.Tensor:
        height, width = rgb.shape[:2]
        scale = self._network_size / min(height, width)
        size = [max(1, round(side * scale / self._patch)) * self._patch for side in (height, width)]
        pixels = F.interpolate(to_pixels(rgb, self._device), size, mode="bicubic", align_corners=False)
        depth = self._model(((pixels - self._mean) / self._deviation).to(self._dtype)).predicted_depth.float()
        depth = F.interpolate(depth[:, None], (height, width), mode="bicubic", align_corners=False)
        return depth[0, 0]
