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
    """Pixels of reflection on either end of a side; at most what there is to reflect."""
    return min(int(3 * math.sqrt(side / 2)), side - 1)


def run_zoedepth(
    network: Callable[[torch.Tensor], torch.Tensor], pixels: torch.Tensor, dtype: torch.dtype
) -> torch.Tensor:
    """The network between SpatialVLA's preparation of the picture and of the depth.

    :param network: see ``plain_network``.
    :param pixels: (B, 3, H, W) float32 in [0, 1].
    :param dtype: of the network's weights.
    :returns: (B, H, W) float32 metres, as the network gives them: where it is unsure, possibly not positive.
    """
    height, width = pixels.shape[2:]
    pad_y, pad_x = padding(height), padding(width)
    padded = F.pad(pixels, (pad_x, pad_x, pad_y, pad_y), mode="reflect")
    resized = F.interpolate(padded, NETWORK_SIZE, mode="bicubic", align_corners=True)
    depth = network(((resized - _MEAN) / _DEVIATION).to(dtype)).float()
    depth = F.interpolate(depth[:, None], padded.shape[2:], mode="bicubic", align_corners=True)
    return depth[:, 0, pad_y : pad_y + height, pad_x : pad_x + width]


def plain_network(model: ZoeDepthForDepthEstimation) -> Callable[[torch.Tensor], torch.Tensor]:
    """From normalised pictures, (B, 3, *NETWORK_SIZE) in the weights' type, to metres, (B, *NETWORK_SIZE)."""
    return partial(_metres, model)


def _metres(model: ZoeDepthForDepthEstimation, prepared: torch.Tensor) -> torch.Tensor:
    return model(prepared).predicted_depth


class _KeptBias(BeitRelativePositionBias):
    """What a layer adds to its attention for how far apart two patches are: always the same, because every picture
    comes in one size. `transformers` makes it anew for each picture and layer, from a table on the host: 24 copies
    that the device waits for.
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
    """The parts of the metric heads that a domain, rooms or streets, has for itself."""

    def __init__(self, heads: ZoeDepthMultipleMetricDepthEstimationHeads, name: str) -> None:
        super().__init__()
        self.seed, self.attractors = heads.seed_bin_regressors[name], heads.attractors[name]
        self.shares = heads.conditional_log_binomial[name]

    def forward(self, features: torch.Tensor, embeddings: Sequence[torch.Tensor], last: torch.Tensor) -> torch.Tensor:
        """
        :param features: of the bottleneck.
        :param embeddings: of those, and of each block.
        :param last: (B, C, H, W).
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
    the host waits for the device at each picture, and no CUDA graph can hold that. Here the device picks the weights.
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
        # The softmax is the library's: in a coarse type it makes equal what the scores still tell apart.
        voted = torch.softmax(scores.sum(dim=0), dim=-1).argmax(dim=-1, keepdim=True)
        embeddings = [self.seed_projector(features)]
        embeddings += [project(block) for project, block in zip(self.projectors, feature_blocks)]
        domain, weights = self._domains()
        picked = {name: each.index_select(0, voted)[0] for name, each in weights.items()}
        return torch.func.functional_call(domain, picked, (features, embeddings, outconv_activation)), scores

    def _domains(self) -> tuple[_Domain, dict[str, torch.Tensor]]:
        """The first domain, and by name the weights of all."""
        if self._kept is None:
            domains = [_Domain(self, each["name"]) for each in self.bin_configurations]
            weights = [dict(each.named_parameters()) for each in domains]
            self._kept = domains[0], {name: torch.stack([each[name] for each in weights]) for name in weights[0]}
        return self._kept


def _differ_by_weights_alone(heads: ZoeDepthMultipleMetricDepthEstimationHeads) -> bool:
    # In the published network all do. Else their ranges are part of the computation, or they have other shapes.
    same_shapes = len({each["n_bins"] for each in heads.bin_configurations}) == 1
    return heads.bin_centers_type == "softplus" and same_shapes


def keep_on_device(model: ZoeDepthForDepthEstimation) -> ZoeDepthForDepthEstimation:
    """Have a network that is not trained do without the host, see ``stays_on_device``."""
    for module in model.modules():
        if type(module) is BeitRelativePositionBias:
            module.__class__ = _KeptBias
        elif type(module) is ZoeDepthMultipleMetricDepthEstimationHeads and _differ_by_weights_alone(module):
            module.__class__ = _DeviceSideVote
    return model


def stays_on_device(model: ZoeDepthForDepthEstimation) -> bool:
    """Whether no value is read from the device, and after the first picture nothing is sent to it: what a CUDA graph
    needs.
    """
    return not any(
        type(module) in (BeitRelativePositionBias, ZoeDepthMultipleMetricDepthEstimationHeads)
        for module in model.modules()
    )


class ZoeDepth(DepthEstimator):
    """On CUDA the network is one graph, whatever a picture's size: it sees ``NETWORK_SIZE``.

    :param checkpoint: a local folder, or an id on the Hugging Face hub.
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
        """See ``DepthEstimator.estimate``; ``sensor_depth`` is not looked at."""
        check_rgb(rgb)
        with memory_for(f"depth on {self._device}"):
            depth = run_zoedepth(self._network, to_pixels(rgb, self._device), self._dtype)[0]
            wait_for_device(self._device)
            return without_invalid(depth.cpu().numpy())
