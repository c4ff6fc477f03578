"""The published 4B shape in bfloat16 with random weights on a GPU: the time of a chunk, compared with the bandwidth of
the memory.

Roofline: at batch 1 every weight is read once for each token and used for a few multiplications. So a chunk takes at
least bytes / bandwidth, with bytes = 12 passes through the language model's layers (prefill and 11 tokens), the head's
rows of the legal tokens, and one pass through picture encoder, Ego3D and projector. The bandwidth is that of a copy on
the device in the same run (reads and writes counted). Keys, values and activations are less than 1 % of it. Arithmetic
limits prefill and picture encoder instead, so the roofline cannot quite be reached.

Times are measured on the host, from pixels and points on the device until the tokens are there.

Without a GPU, its work is counted (policy_kernels.py): kernels, bytes, and the least time for them by the data sheets
of some GPUs.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from transformers import ZoeDepthForDepthEstimation

from bench.policy_decoding import plain_generate
from bench.policy_kernels import GPUS, CountedCompiler, Kernels, kernels_of
from bench.policy_timing import interleave, legal_ranges, network_inputs, spread
from stvla_ros.perception.depth.zoedepth import keep_on_device, plain_network, run_zoedepth
from stvla_ros.policy.compiled_parts import Compiler
from stvla_ros.policy.spatialvla.checkpoint import empty_model
from stvla_ros.policy.spatialvla.config import SpatialVlaConfig
from stvla_ros.policy.spatialvla.decoding.decoder import Accelerations, ChunkDecoder
from stvla_ros.policy.spatialvla.decoding.token_predictor import PADDED_TEXT_TOKENS, TokenPredictor
from stvla_ros.policy.spatialvla.model import SpatialVla
from stvla_ros.policy.spatialvla.sizes import published_config

REPEATS = 20
# Operations after a decoding's last token: the tokens are put together and checked.
_LAST_KERNELS = 6
COPY_BYTES = 2**31
MOST_MEMORY_GB = 9.0


def rows() -> list[dict[str, Any]]:
    """The counted figures; with CUDA also one row for each way to a chunk, then the roofline and the memory."""
    counted = counted_rows("4b")
    if not torch.cuda.is_available():
        return [*counted, {"missing": "policy_cuda: no CUDA device, nothing measured"}]
    return [*counted, *measure("4b", torch.device("cuda"), torch.bfloat16)]


def meta_model(size: str) -> SpatialVla:
    """The server's model on a GPU, on torch's meta device: bfloat16, lean."""
    config = SpatialVlaConfig.from_dict(published_config(size))
    return empty_model(config, lean=True).to(torch.bfloat16).to("meta")


def chunk_kernels(model: SpatialVla, compiler: Compiler = Compiler(enabled=False)) -> dict[str, Kernels]:
    """The kernels of the picture, of the prompt with its first token, of one further token, and of the whole chunk.

    :param compiler: compiler of the operations between the products.
    """
    ranges, size, width = legal_ranges(), model.config.image_size, model.config.text.hidden_size
    points_a_patch = 3 * model.config.patch_resolution**2

    def empty(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
        return torch.empty(shape, device="meta", dtype=dtype)

    pixels, points = empty(1, 3, size, size), empty(1, model.config.num_image_tokens, points_a_patch)
    embeddings = empty(1, model.config.num_image_tokens + PADDED_TEXT_TOKENS[0], width, dtype=model.dtype)
    length = empty(dtype=torch.int64)
    TokenPredictor(model, ranges)  # it changes the layout of the model's weights
    decoders = {count: ChunkDecoder(model, ranges[:count], compiler=compiler) for count in (1, 2, len(ranges))}
    join = compiler.part(model.vision_tower.join)

    def decode(count: int) -> Kernels:
        decoder = decoders[count]
        cache = decoder.static_cache(embeddings.shape[1])
        return kernels_of(lambda: decoder(embeddings, length, None, cache))

    picture, first, two, chunk = (
        kernels_of(lambda: model.image_features(pixels, points, join)),
        *map(decode, decoders),
    )
    token = Kernels(two.names - first.names, two.costs[first.count - _LAST_KERNELS :][: two.count - first.count])
    whole = Kernels(picture.names + chunk.names, picture.costs + chunk.costs)
    return {"picture": picture, "prefill": first, "token": token, "chunk": whole}


def depth_kernels(size: str) -> Kernels:
    """The kernels of ZoeDepth, for a picture without depth, after the first one."""
    config = SpatialVlaConfig.from_dict(published_config(size))
    with torch.device("meta"):
        model = keep_on_device(ZoeDepthForDepthEstimation(config.depth).eval()).to(torch.bfloat16)
    network, pixels = plain_network(model), torch.empty(1, 3, config.image_size, config.image_size, device="meta")
    with torch.inference_mode():
        run_zoedepth(network, pixels, torch.bfloat16)
    return kernels_of(lambda: run_zoedepth(network, pixels, torch.bfloat16))


def counted_rows(size: str) -> list[dict[str, Any]]:
    """A row for each part of a chunk, and one for a depth map."""
    model = meta_model(size)
    rows, lists = [], []
    for how, compiler in (("compiled parts", CountedCompiler()), ("compiled_parts off", Compiler(enabled=False))):
        parts = chunk_kernels(model, compiler)
        rows += [_counted_row(f"{size}, bfloat16, counted, {how}: {part}", each) for part, each in parts.items()]
        for part in ("token", "prefill", "picture"):
            listed = ", ".join(f"{name} {count}" for name, count in parts[part].names.most_common())
            lists.append({"what": f"kernels, {how}: {part}: {listed}"})
    rows.append(_counted_row(f"{size}, bfloat16, counted: depth, when none is given", depth_kernels(size)))
    loaded = sum(each.numel() * each.itemsize for each in (*model.parameters(), *model.buffers()))
    return [*rows, *lists, {"what": "weights of the server", "gb": loaded / 1e9}]


def _counted_row(what: str, kernels: Kernels) -> dict[str, Any]:
    row = {"what": what, "kernels": kernels.count, "products": kernels.products, "gb": kernels.bytes / 1e9}
    return row | {f"{name.replace(' ', '_').lower()}_ms": kernels.bound_ms(gpu) for name, gpu in GPUS.items()}


@torch.inference_mode()
def measure(size: str, device: torch.device, dtype: torch.dtype) -> list[dict[str, Any]]:
    """:param device: device to measure on, a CUDA device; the CPU only shows that this runs."""
    on_cuda = device.type == "cuda"
    torch.manual_seed(0)
    model = random_model(size, device, dtype)
    pixels, points, ids = network_inputs(model)
    text = model.embed_text(ids[:, model.config.num_image_tokens :])
    ranges, on = legal_ranges(), Accelerations()
    fastest = TokenPredictor(model, ranges, on)
    # Both graphs, as in a server after its warm-up; measured first, because the other ways need memory of their own.
    fastest.warm_up(pixels, points, text, None)
    memory = []
    if on_cuda:
        allocated, reserved = torch.cuda.max_memory_allocated(device), torch.cuda.max_memory_reserved(device)
        memory = [
            {"what": "peak memory, allocated", "gb": allocated / 1e9, "target": f"< {MOST_MEMORY_GB:g} GB"},
            {"what": "peak memory, held by the process's allocator", "gb": reserved / 1e9},
        ]
    ways: dict[str, Callable[[], object]] = {"ours": lambda: fastest(pixels, points, text)}
    for off in (("compiled_parts",), ("cuda_graph",), ("fused_layers",), ("legal_rows",)):
        predictor = TokenPredictor(model, ranges, replace(on, **dict.fromkeys(off, False)))
        predictor.warm_up(pixels, points, text, None)
        ways[f"ours, {' and '.join(off)} off"] = partial(predictor, pixels, points, text)
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
    # Not a chunk, so the roofline does not apply.
    del result[-1]["times_roofline"]
    roofline = {
        "what": f"roofline: {read / 1e9:.1f} GB at {bandwidth / 1e9:.0f} GB/s",
        "from_pixels_ms": f"{roofline_ms:.3g}",
    }
    return [*result, roofline, *memory]


def random_model(size: str, device: torch.device, dtype: torch.dtype) -> SpatialVla:
    """A model as ``load_model`` makes it, but with random numbers made on the device."""
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
    """Bytes of the weights that a chunk has to read."""
    ranges = legal_ranges()
    once = (model.vision_tower, model.multi_modal_projector, model.position_embedding_3d)
    count = sum(weight.numel() for module in once for weight in module.parameters())
    count += len(ranges) * sum(weight.numel() for weight in model.language_model.model.layers.parameters())
    count += sum(end - first for first, end in ranges) * model.config.text.hidden_size
    return count * model.dtype.itemsize


def copy_bandwidth(device: torch.device) -> float:
    """Bytes a second, read and written, when memory of the device is copied on it."""
    source = torch.zeros(COPY_BYTES // 2, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    copy_ms = interleave({"copy": lambda: target.copy_(source)}, REPEATS, device)["copy"]
    return COPY_BYTES / (float(np.median(copy_ms)) * 1e-3)


if __name__ == "__main__":
    for row in rows():
        print(row)
