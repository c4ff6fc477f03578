"""The published 4B shape in bfloat16 with random weights on a GPU: a chunk against the bandwidth of its memory.

Roofline: at batch 1 every weight is read once for each token and used for a few multiplications, so a chunk takes at
least bytes / bandwidth, with bytes = 12 passes through the language model's layers (prefill and 11 tokens), the head's
rows of the legal tokens, and one pass through picture encoder, Ego3D and projector. The bandwidth is that of a copy on
the device in the same run (read and write counted). Keys, values and activations are less than 1 % of it. Prefill
and picture encoder are bound by arithmetic instead, so the roofline cannot quite be met.

Times are the host's, from pixels and points on the device until the tokens are there.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch

from bench.policy_decoding import plain_generate
from bench.policy_timing import interleave, legal_ranges, network_inputs, spread
from stvla_ros.policy.spatialvla.checkpoint import empty_model
from stvla_ros.policy.spatialvla.config import SpatialVlaConfig
from stvla_ros.policy.spatialvla.decoding.decoder import Accelerations
from stvla_ros.policy.spatialvla.decoding.token_predictor import TokenPredictor
from stvla_ros.policy.spatialvla.model import SpatialVla
from stvla_ros.policy.spatialvla.sizes import published_config

REPEATS = 20
COPY_BYTES = 2**31
MOST_MEMORY_GB = 9.0


def rows() -> list[dict[str, Any]]:
    """One row per way to a chunk, then the roofline and the memory; none without CUDA."""
    if not torch.cuda.is_available():
        return [{"missing": "policy_cuda: no CUDA device"}]
    return measure("4b", torch.device("cuda"), torch.bfloat16)


@torch.inference_mode()
def measure(size: str, device: torch.device, dtype: torch.dtype) -> list[dict[str, Any]]:
    """:param device: a CUDA device; the CPU only shows that this runs."""
    on_cuda = device.type == "cuda"
    torch.manual_seed(0)
    model = random_model(size, device, dtype)
    pixels, points, ids = network_inputs(model)
    ranges, on = legal_ranges(), Accelerations()
    fastest = TokenPredictor(model, ranges, on)
    # Both graphs, as a server has them after its warm-up; before the other ways need memory of their own.
    fastest.warm_up(pixels, points, ids, None)
    memory = []
    if on_cuda:
        allocated, reserved = torch.cuda.max_memory_allocated(device), torch.cuda.max_memory_reserved(device)
        memory = [
            {"what": "peak memory, allocated", "gb": allocated / 1e9, "target": f"< {MOST_MEMORY_GB:g} GB"},
            {"what": "peak memory, held by the process's allocator", "gb": reserved / 1e9},
        ]
    ways: dict[str, Callable[[], object]] = {"ours": lambda: fastest(pixels, points, ids)}
    for off in (("cuda_graph",), ("fused_layers",), ("legal_rows",)):
        predictor = TokenPredictor(model, ranges, replace(on, **dict.fromkeys(off, False)))
        ways[f"ours, {' and '.join(off)} off"] = partial(predictor, pixels, points, ids)
    generate = plain_generate(model, ids)
    ways["plain generate"] = lambda: generate(model.image_features(pixels, points), len(ranges))
    ways["picture alone"] = lambda: model.image_features(pixels, points)
    times = interleave(ways, REPEATS, device)
    bandwidth, read = copy_bandwidth(device), chunk_bytes(model)
    roofline_ms = read / bandwidth * 1e3
    name = torch.cuda.get_device_name(device) if on_cuda else "CPU"
    result: list[dict[str, Any]] = [
        {
            "what": f"{size}, {str(dtype).removeprefix('torch.')}, {name}: {way}",
            "from_pixels_ms": spread(milliseconds),
            "times_roofline": float(np.median(milliseconds)) / roofline_ms,
        }
        for way, milliseconds in times.items()
    ]
    result[0]["target"] = "H200: 15 to 20 ms"
    # Not a chunk: the roofline is not its.
    del result[-1]["times_roofline"]
    roofline = {
        "what": f"roofline: {read / 1e9:.1f} GB at {bandwidth / 1e9:.0f} GB/s",
        "from_pixels_ms": f"{roofline_ms:.3g}",
    }
    return [*result, roofline, *memory]


def random_model(size: str, device: torch.device, dtype: torch.dtype) -> SpatialVla:
    """As ``load_model`` makes it, of random numbers that are made on the device."""
    config = SpatialVlaConfig.from_dict(published_config(size))
    model = empty_model(config)
    deviation = config.text.initializer_range
    weights = {
        name: torch.empty(tensor.shape, dtype=dtype, device=device).normal_(std=deviation)
        for name, tensor in model.state_dict().items()
    }
    model.load_state_dict(weights, assign=True)
    return model.to(device).eval().requires_grad_(False)


def chunk_bytes(model: SpatialVla) -> int:
    """Weights that a chunk has to read, in bytes."""
    ranges = legal_ranges()
    once = (model.vision_tower, model.multi_modal_projector, model.position_embedding_3d)
    count = sum(weight.numel() for module in once for weight in module.parameters())
    count += len(ranges) * sum(weight.numel() for weight in model.language_model.model.layers.parameters())
    count += sum(end - first for first, end in ranges) * model.config.text.hidden_size
    return count * model.dtype.itemsize


def copy_bandwidth(device: torch.device) -> float:
    """Bytes a second, read and written, of a copy from the device's memory to itself."""
    source = torch.zeros(COPY_BYTES // 2, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    copy_ms = interleave({"copy": lambda: target.copy_(source)}, REPEATS, device)["copy"]
    return COPY_BYTES / (float(np.median(copy_ms)) * 1e-3)


if __name__ == "__main__":
    for row in rows():
        print(row)
