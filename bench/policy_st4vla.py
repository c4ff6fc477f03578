"""The ``small`` ST4VLA as in the server, by turns with a straightforward loop, and the published shape counted.

640x480 pictures, 10 steps, guidance 1.5, float32 on the CPU, one thread of torch. The straightforward loop follows the
method's description word for word: it tokenizes the prompt for each picture, and each step of the sampler runs the
network with and then without the condition, and embeds both anew. Its answers are the same.

The published shape is made without numbers. Counted are the bytes of its weights, and the least time for reading them
once and for its products on a device (a roofline: NVIDIA's data sheets, dense products in bfloat16).
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

CALLS = 12
INSTRUCTION = "put the spoon on the towel"
# Memory bandwidth in GB/s, and 1e12 multiply-adds a second.
DEVICES = {"Jetson AGX Orin 64GB": (204.8, 85.0), "RTX 4090": (1008.0, 165.0), "H100 SXM": (3350.0, 989.0)}
_PROMPT_TOKENS = 64 + 60
_ALIKE = 1e-4


def rows() -> list[dict[str, Any]]:
    """The rows, from a fresh process: OpenMP reads the environment once."""
    command = [sys.executable, "-m", "bench.policy_st4vla"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return [*json.loads(subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True, text=True).stdout)]


def measure() -> list[dict[str, Any]]:
    import torch

    from stvla_ros.policy import load_policy
    from stvla_ros.policy.st4vla.create import create_checkpoint
    from stvla_ros.policy.st4vla.encoder_inputs import dino_pixels, patches
    from stvla_ros.policy.st4vla.predictor import St4VlaPredictor

    torch.set_num_threads(1)
    picture = np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        create_checkpoint(Path(folder) / "small", "small")
        predictor: St4VlaPredictor = load_policy(str(Path(folder) / "small"))
    # A new network predicts no noise at all: any loop would then give the same.
    torch.nn.init.normal_(predictor.model.action_model.net.final_layer.linear.weight, std=0.02)
    model = predictor.model

    def chunk() -> np.ndarray:
        predictor.reset()
        return predictor.predict([picture], INSTRUCTION).normalized

    @torch.inference_mode()
    def straightforward() -> np.ndarray:
        stacked = predictor._prepared([picture])
        pixels, grid = patches(stacked)
        ids = torch.from_numpy(predictor.prompts.encode(INSTRUCTION))[None]
        condition = model.features(pixels, grid, ids, torch.ones_like(ids), dino_pixels(stacked))
        noise = torch.randn(1, model.config.chunk, 7, generator=torch.Generator().manual_seed(0))
        return straightforward_sample(model, condition, noise)[0].numpy()

    @torch.inference_mode()
    def features() -> torch.Tensor:
        stacked = predictor._prepared([picture])
        ids = predictor._ids(INSTRUCTION, 1)
        return model.features(*patches(stacked), ids, torch.ones_like(ids), dino_pixels(stacked))

    condition, noise = features().clone(), torch.randn(1, model.config.chunk, 7)
    calls = {
        "chunk": chunk,
        "chunk, straightforward loop": straightforward,
        "of it: pictures, language model, DINOv2, queries": features,
        "of it: sampler": torch.inference_mode()(lambda: model.sample(condition, noise)),
        "of it: sampler, straightforward": torch.inference_mode()(
            lambda: straightforward_sample(model, condition, noise)
        ),
    }
    apart = float(np.abs(chunk() - straightforward()).max())
    if apart > _ALIKE:
        raise RuntimeError(f"the two loops answer differently, by {apart:g}")
    times, processor = taken(calls)
    result: list[dict[str, Any]] = [
        {
            "what": f"ST4VLA small, {name}",
            "p50_ms": float(np.median(each)),
            "p99_ms": float(np.quantile(each, 0.99)),
            "processor_p50_ms": float(np.median(processor[name])),
            "n": CALLS,
        }
        for name, each in times.items()
    ]
    for what, fast, slow in (
        ("chunk", "chunk", "chunk, straightforward loop"),
        ("sampler", "of it: sampler", "of it: sampler, straightforward"),
    ):
        ratio = float(np.median(processor[slow] / processor[fast]))
        result.append({"what": f"ST4VLA small, straightforward / ours, {what}", "ratio": ratio, "n": CALLS})
    return result + published_shape()


def taken(calls: Mapping[str, Callable[[], object]]) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Milliseconds of each call on the clock, and of the processor, which other work on the machine changes less. The
    calls take turns; a first round does not count.
    """
    clock: dict[str, list[float]] = {name: [] for name in calls}
    processor: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(CALLS + 1):
        for name, call in calls.items():
            begun = time.perf_counter(), time.process_time()
            call()
            if number:
                clock[name].append(1e3 * (time.perf_counter() - begun[0]))
                processor[name].append(1e3 * (time.process_time() - begun[1]))
    on_clock = {name: np.array(each) for name, each in clock.items()}
    return on_clock, {name: np.array(each) for name, each in processor.items()}


def straightforward_sample(model: Any, condition: Any, noise: Any, guidance: float = 1.5) -> Any:
    """Sampling with two whole passes of the noise predictor for each step."""
    from stvla_ros.policy.st4vla.diffusion import denoise
    from stvla_ros.policy.st4vla.sizes import STEPS

    net = model.action_model.net
    nothing = net.z_embedder.uncondition.expand_as(condition)

    def predict(actions: Any, step: int) -> Any:
        times = actions.new_full((len(actions),), step).long()
        found, free = (net(actions, times, each) for each in (condition, nothing))
        return free + guidance * (found - free)

    return denoise(noise, STEPS, predict)


def published_shape() -> list[dict[str, Any]]:
    """The bytes and the least time of a chunk: weights are read once for the features and once a step for the sampler;
    of reading and products, the longer counts.
    """
    import torch

    from stvla_ros.policy.st4vla.checkpoint import empty_model, expected_shapes, stored_dtype
    from stvla_ros.policy.st4vla.config import St4VlaConfig
    from stvla_ros.policy.st4vla.sizes import STEPS, config_of_size

    config = St4VlaConfig.from_dict(config_of_size("4b"))
    sizes: dict[str, tuple[int, int]] = {}
    for name, shape in expected_shapes(empty_model(config)).items():
        part = ".".join(name.split(".")[: 4 if name.startswith("qwen") else 1])
        count, size = sizes.get(part, (0, 0))
        numbers = torch.Size(shape).numel()
        sizes[part] = count + numbers, size + numbers * stored_dtype(name, torch.bfloat16).itemsize
    total = sum(size for _, size in sizes.values())
    result: list[dict[str, Any]] = [
        {"what": "ST4VLA 4b, weights in bfloat16, action expert in float32", "GB": total / 1e9}
    ]
    sampler_count, sampler_bytes = sizes["action_model"]
    patches = (config.picture_size // 14) ** 2
    # Each weight is multiplied once for each token that passes it.
    tokens = {"qwen_vl_interface.model.model.visual": patches, "dino_encoder": patches, "dino_pro": patches}
    products = sum(
        2 * count * tokens.get(part, _PROMPT_TOKENS) for part, (count, _) in sizes.items() if part != "action_model"
    )
    sampled = STEPS * 2 * sampler_count * 2 * (config.queries + config.chunk)
    for device, (bandwidth, compute) in DEVICES.items():
        read = (total - sampler_bytes + STEPS * sampler_bytes) / (bandwidth * 1e9)
        computed = (products + sampled) / (compute * 1e12)
        result.append(
            {
                "what": f"ST4VLA 4b, at least, on {device}",
                "weights_ms": 1e3 * read,
                "products_ms": 1e3 * computed,
                "chunk_ms": 1e3 * max(read, computed),
            }
        )
    return result


if __name__ == "__main__":
    json.dump(measure(), sys.stdout)
