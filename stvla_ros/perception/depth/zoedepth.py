"""ZoeDepth, the paper's depth estimator.

The picture is prepared as inside SpatialVLA, because its position embedding was trained on the resulting depth:
reflect-padding (31 pixels at 224x224), bicubic resize to 384x384 with aligned corners, mean and deviation 0.5. The
depth goes the same way back. ZoeDepth itself pads int(3 sqrt(side / 2)) pixels a side, which is 31 at 224; so this
formula serves any picture and equals SpatialVLA's at its own size. The result has the picture's size and pixel grid:
resizing with aligned corners there and back leaves every pixel in its place.

`transformers`' own image processor resizes to 384x512 and keeps the shape. The policy was not trained on that (and the
processor needs torchvision).
"""

import math
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from transformers import ZoeDepthForDepthEstimation
from transformers.models.beit.modeling_beit import BeitRelativePositionBias
from transformers.models.zoedepth.modeling_zoedepth import ZoeDepthMultipleMetricDepthEstimationHeads

from stvla_ros.cuda_graph import CudaGraph
from stvla_ros.devices import memory_for, parse_device, parse_dtype, wait_for_device
from stvla_ros.perception.depth.base import DepthEstimator, without_invalid
from stvla_ros.perception.depth.networks import ZOEDEPTH_EXAMPLE
from stvla_ros.perception.depth.pretrained import load_config, load_depth_model, to_pixels
from stvla_ros.perception.types import check_rgb

NETWORK_SIZE = (384, 384)
_MEAN = _DEVIATION = 0.5


def padding(side: int) -> int:
    """Width of the reflected border at either end of a side, pixels; at most as much as can be reflected."""
    return min(int(3 * math.sqrt(side / 2)), side - 1)


def run_zoedepth(
    network: Callable[[torch.Tensor], torch.Tensor], pixels: torch.Tensor, dtype: torch.dtype
) -> torch.Tensor:
    """Run the network, with SpatialVLA's preparation of the picture before it and of the depth after it.

    :param network: network, see ``plain_network``.
    :param pixels: (B, 3, H, W) float32 in [0, 1].
    :param dtype: type of the network's weights.
    :returns: (B, H, W) float32 metres as the network gives them; possibly not positive where it is unsure.
    """
    height, width = pixels.shape[2:]
    pad_y, pad_x = padding(height), padding(width)
    padded = F.pad(pixels, (pad_x, pad_x, pad_y, pad_y), mode="reflect")
    resized = F.interpolate(padded, NETWORK_SIZE, mode="bicubic", align_corners=True)
    depth = network(((resized - _MEAN) / _DEVIATION).to(dtype)).float()
    depth = F.interpolate(depth[:, None], padded.shape[2:], mode="bicubic", align_corners=True)
    return depth[:, 0, pad_y : pad_y + height, pad_x : pad_x + width]


def plain_network(model: ZoeDepthForDepthEstimation) -> Callable[[torch.Tensor], torch.Tensor]:
    """The network as a function from normalised pictures, (B, 3, *NETWORK_SIZE) in the weights' type, to metres, (B,
    *NETWORK_SIZE).
    """
    return partial(_metres, model)


def _metres(model: ZoeDepthForDepthEstimation, prepared: torch.Tensor) -> torch.Tensor:
    return model(prepared).predicted_depth


class _KeptBias(BeitRelativePositionBias):
    """The bias that a layer adds to its attention for the distance of two patches. It is always the same, because every
    picture has one size. `transformers` computes it anew for each picture and layer, from a table on the host: 24
    copies that the device waits for.
    """

    _kept: tuple[tuple[object, ...], torch.Tensor] | None = None

    def _apply(self, *given, **named) -> nn.Module:
        self._kept = None  # another type or device
        return super()._apply(*given, **named)

    def forward(self, window_size, interpolate_pos_encoding: bool = False, dim_size=None) -> torch.Tensor:
        asked = (tuple(window_size), interpolate_pos_encoding, dim_size)
        if self._kept is None or self._kept[0] != asked:
            self._kept = asked, super().forward(window_size, interpolate_pos_encoding, dim_size)
        return self._kept[1]


class _Domain(nn.Module):
    """The parts of the metric heads that belong to one domain (rooms or streets)."""

    def __init__(self, heads: ZoeDepthMultipleMetricDepthEstimationHeads, name: str) -> None:
        super().__init__()
        self.seed, self.attractors = heads.seed_bin_regressors[name], heads.attractors[name]
        self.shares = heads.conditional_log_binomial[name]

    def forward(self, features: torch.Tensor, embeddings: Sequence[torch.Tensor], last: torch.Tensor) -> torch.Tensor:
        """
        :param features: features of the bottleneck.
        :param embeddings: embeddings of the bottleneck's features, and of each block's.
        :param last: (B, C, H, W) features of the last layer.
        :returns: (B, 1, H, W) metres.
        """
        centres = self.seed(features)[1]
        for attract, before, embedding in zip(self.attractors, embeddings, embeddings[1:]):
            centres = attract(embedding, centres, before, interpolate=True)[1]
        size = last.shape[-2:]
        centres = F.interpolate(centres, size, mode="bilinear", align_corners=True)
        embedding = F.interpolate(embeddings[-1], size, mode="bilinear", align_corners=True)
        return (self.shares(last, embedding) * centres).sum(dim=1, keepdim=True)


class _DeviceSideVote(ZoeDepthMultipleMetricDepthEstimationHeads):
    """Heads for several domains, between which the network votes. `transformers` reads the vote back to find the head:
    the host then waits for the device at each picture, and a CUDA graph cannot contain this. Here the device itself
    selects the weights.
    """

    _kept: tuple[_Domain, dict[str, torch.Tensor]] | None = None

    def _apply(self, *given, **named) -> nn.Module:
        self._kept = None  # another type or device
        return super()._apply(*given, **named)

    def forward(
        self,
        outconv_activation: torch.Tensor,
        bottleneck: torch.Tensor,
        feature_blocks: Sequence[torch.Tensor],
        relative_depth: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """:returns: (B, 1, H, W) metres, (B, domains) scores."""
        features = self.conv2(bottleneck)
        scores = self.mlp_classifier(self.patch_transformer(features)[:, 0])
        # The library's softmax: in a coarse type it makes scores equal that still differ.
        voted = torch.softmax(scores.sum(dim=0), dim=-1).argmax(dim=-1, keepdim=True)
        embeddings = [self.seed_projector(features)]
        embeddings += [project(block) for project, block in zip(self.projectors, feature_blocks)]
        domain, weights = self._domains()
        picked = {name: each.index_select(0, voted)[0] for name, each in weights.items()}
        return torch.func.functional_call(domain, picked, (features, embeddings, outconv_activation)), scores

    def _domains(self) -> tuple[_Domain, dict[str, torch.Tensor]]:
        """The first domain, and the weights of all domains by name."""
        if self._kept is None:
            domains = [_Domain(self, each["name"]) for each in self.bin_configurations]
            weights = [dict(each.named_parameters()) for each in domains]
            self._kept = domains[0], {name: torch.stack([each[name] for each in weights]) for name in weights[0]}
        return self._kept


def _differ_by_weights_alone(heads: ZoeDepthMultipleMetricDepthEstimationHeads) -> bool:
    # True for all heads of the published network. Otherwise the domains differ in ranges, which are part of the
    # computation, or in shapes.
    same_shapes = len({each["n_bins"] for each in heads.bin_configurations}) == 1
    return heads.bin_centers_type == "softplus" and same_shapes


def keep_on_device(model: ZoeDepthForDepthEstimation) -> ZoeDepthForDepthEstimation:
    """Change a network that is not trained further so that it works without the host, see ``stays_on_device``."""
    for module in model.modules():
        if type(module) is BeitRelativePositionBias:
            module.__class__ = _KeptBias
        elif type(module) is ZoeDepthMultipleMetricDepthEstimationHeads and _differ_by_weights_alone(module):
            module.__class__ = _DeviceSideVote
    return model


def stays_on_device(model: ZoeDepthForDepthEstimation) -> bool:
    """Whether no value is read from the device, and nothing is sent to it after the first picture: a CUDA graph needs
    this.
    """
    return not any(
        type(module) in (BeitRelativePositionBias, ZoeDepthMultipleMetricDepthEstimationHeads)
        for module in model.modules()
    )


class ZoeDepth(DepthEstimator):
    """ZoeDepth as a backend. On CUDA the network is one graph for pictures of any size, since its input always has
    ``NETWORK_SIZE``.

    :param checkpoint: local folder, or id on the Hugging Face hub.
    :param device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
    :param dtype: ``auto``, ``float32``, ``float16`` or ``bfloat16``, see ``devices.parse_dtype``.
    :raises InputError: for a checkpoint, device or type that cannot be used, or when memory runs out.
    """

    def __init__(self, checkpoint: str = ZOEDEPTH_EXAMPLE, device: str = "auto", dtype: str = "auto") -> None:
        self._device = parse_device(device, "depth device")
        self._dtype = parse_dtype(dtype, "depth dtype", self._device)
        load_config(ZoeDepthForDepthEstimation, checkpoint, ZOEDEPTH_EXAMPLE)
        model = load_depth_model(ZoeDepthForDepthEstimation, checkpoint, ZOEDEPTH_EXAMPLE, self._device, self._dtype)
        self._network = plain_network(keep_on_device(model))
        if self._device.type != "cpu" and stays_on_device(model):
            with torch.inference_mode(), memory_for(f"warm-up of depth on {self._device}"):
                picture = torch.zeros(1, 3, *NETWORK_SIZE, device=self._device, dtype=self._dtype)
                self._network = CudaGraph(self._network, (picture,))

    @torch.inference_mode()
    def estimate(self, rgb: np.ndarray, sensor_depth: np.ndarray | None = None) -> np.ndarray:
        """See ``DepthEstimator.estimate``; ``sensor_depth`` is ignored."""
        check_rgb(rgb)
        with memory_for(f"depth on {self._device}"):
            depth = run_zoedepth(self._network, to_pixels(rgb, self._device), self._dtype)[0]
            wait_for_device(self._device)
            return without_invalid(depth.cpu().numpy())
