"""What a CUDA graph can record, shown without a GPU: torch's meta device stands for one. Reading a value from it fails,
and whatever the host computes or copies shows as an operation with a tensor on the CPU.
"""

from collections import Counter

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from stvla_ros.policy.spatialvla.checkpoint import empty_model
from stvla_ros.policy.spatialvla.config import HEADS, SpatialVlaConfig
from stvla_ros.policy.spatialvla.decoding.token_predictor import TokenPredictor
from stvla_ros.policy.spatialvla.sizes import published_config

LEGAL = ((0, 4096), (4096, 8192), (8192, 8194)) * 4
PADDED_TEXT = 32


class HostOperations(TorchDispatchMode):
    """Counts the operations that involve a tensor on the CPU."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        tensors = [leaf for leaf in tree_leaves((args, kwargs, result)) if isinstance(leaf, torch.Tensor)]
        if any(tensor.device.type == "cpu" for tensor in tensors):
            self.counts[str(function)] += 1
        return result


@pytest.fixture(scope="module", params=[None, *HEADS])
def model(request):
    config = SpatialVlaConfig.from_dict(published_config("tiny"))
    return empty_model(config.with_head(request.param, True) if request.param else config).to("meta")


def test_an_operation_of_the_host_is_noticed():
    with HostOperations() as noticed:
        torch.empty(2, device="meta").add_(torch.ones(2).to("meta"))
    assert noticed.counts


@pytest.mark.parametrize("sampled", [False, True], ids=["greedy", "sampled"])
def test_from_picture_to_tokens_nothing_waits_for_or_comes_from_the_host(model, sampled):
    tokens = TokenPredictor(model, LEGAL)
    count = model.config.num_pictures
    pixels, points = torch.empty(count, 3, 224, 224, device="meta"), torch.empty(count, 256, 12, device="meta")
    cells = torch.empty(1, 32, 32, 5, device="meta") if model.trace_head else None
    text = torch.empty(1, PADDED_TEXT, model.config.text.hidden_size, device="meta")
    length = torch.empty((), dtype=torch.int64, device="meta")
    noise = torch.empty(len(LEGAL), 4096, device="meta") if sampled else None
    cache = tokens._decoder.static_cache(model.config.num_image_tokens + PADDED_TEXT)
    with torch.inference_mode(), HostOperations() as noticed:
        embeddings = torch.cat([model.image_features(pixels, points, None, cells), text], dim=1)
        offsets = tokens._decoder(embeddings, length, noise, cache).offsets
    assert offsets.shape == (len(LEGAL),)
    assert not noticed.counts


def test_from_picture_to_depth_nothing_waits_for_or_comes_from_the_host(model):
    pixels = torch.empty(1, 3, 224, 224, device="meta")
    assert len(model.config.depth.bin_configurations) == 2 and model.depth_stays_on_device
    with torch.inference_mode():
        model.estimate_depth(pixels)
        with HostOperations() as noticed:
            assert model.estimate_depth(pixels).shape == (1, 224, 224)
    assert not noticed.counts
