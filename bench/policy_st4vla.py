"""The ``small`` ST4VLA as in the server, by turns with a straightforward loop, and the published shape counted.

640x480 pictures, 10 steps, guidance 1.5, float32 on the CPU, one thread of torch. The straightforward loop follows the
method's description word for word, with `transformers`' own modules: it tokenizes the prompt for each picture, and each
step of the sampler runs the network with and then without the condition, and embeds both anew. Its answers are the
same. Beside the times stand the matrix products of both, which no machine changes, and how many operations torch is
asked for: each is at least one launch on a GPU, where ours are one graph.

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
    from stvla_ros.policy.st4vla.sampler import Sampler
    from stvla_ros.policy.st4vla.sizes import GUIDANCE, STEPS

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
        ids = torch.from_numpy(predictor.prompts.encode(INSTRUCTION))[None]
        return model.features(*patches(stacked), ids, torch.ones_like(ids), dino_pixels(stacked))

    condition, noise = features().clone(), torch.randn(1, model.config.chunk, 7)
    sampler = Sampler(model.action_model.net, STEPS, GUIDANCE)
    calls = {
        "chunk": chunk,
        "chunk, straightforward loop": straightforward,
        "of it: pictures, language model, DINOv2, queries, straightforward": features,
        "of it: sampler": torch.inference_mode()(lambda: sampler(condition, noise)),
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
        ratios = processor[slow] / processor[fast]
        low, middle, high = (float(np.quantile(ratios, share)) for share in (0.1, 0.5, 0.9))
        ratio = {"ratio": middle, "ratio_p10": low, "ratio_p90": high, "n": CALLS}
        result.append({"what": f"ST4VLA small, straightforward / ours, {what}", **ratio})
    result += [{"what": f"ST4VLA small, {name}", **asked(call)} for name, call in calls.items()]
    return result + published_shape()


def asked(call: Callable[[], object]) -> dict[str, float]:
    """Products and sums of a call's matrix products, and operations that torch is asked for."""
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils.flop_counter import FlopCounterMode

    class Counter(TorchDispatchMode):
        operations = 0

        def __torch_dispatch__(self, function: Any, types: Any, given: Any = (), named: Any = None) -> Any:
            # A view moves nothing.
            self.operations += not function.is_view
            return function(*given, **(named or {}))

    with Counter() as counter:
        call()
    with FlopCounterMode(display=False) as flops:
        call()
    return {"giga_products_and_sums": flops.get_total_flops() / 1e9, "operations": counter.operations}


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
    import torch

    from stvla_ros.policy.st4vla.diffusion import denoise
    from stvla_ros.policy.st4vla.sizes import STEPS

    net = model.action_model.net
    nothing = net.z_embedder.uncondition.expand_as(condition)

    def whole_pass(actions: Any, times: Any, told: Any) -> Any:
        before = net.z_embedder(told) + times[:, None]
        tokens = torch.cat([before, net.x_embedder(actions)], dim=1) + net.positional_embedding
        for block in net.blocks:
            tokens = block(tokens)
        tokens = torch.nn.functional.layer_norm(tokens, tokens.shape[-1:], eps=1e-6)
        return net.final_layer(tokens[:, condition.shape[1] :])

    def predict(actions: Any, step: int) -> Any:
        times = net.t_embedder(actions.new_full((len(actions),), step).long())
        found, free = (whole_pass(actions, times, each) for each in (condition, nothing))
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
        *work("small"),
        *work("4b"),
        {"what": "ST4VLA 4b, weights in bfloat16, action expert in float32", "GB": total / 1e9},
    ]
    _, sampler_bytes = sizes["action_model"]
    operations = 1e9 * sum(row["giga_products_and_sums"] for row in work("4b"))
    for device, (bandwidth, compute) in DEVICES.items():
        read = (total - sampler_bytes + STEPS * sampler_bytes) / (bandwidth * 1e9)
        computed = operations / (compute * 1e12)
        result.append(
            {
                "what": f"ST4VLA 4b, at least, on {device}",
                "weights_ms": 1e3 * read,
                "products_ms": 1e3 * computed,
                "chunk_ms": 1e3 * max(read, computed),
            }
        )
    return result


def work(size: str) -> list[dict[str, Any]]:
    """Where a chunk's matrix products go, and what of the weights is read for them, by part; of a network without
    numbers.
    """
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from stvla_ros.policy.st4vla.checkpoint import empty_model
    from stvla_ros.policy.st4vla.config import St4VlaConfig
    from stvla_ros.policy.st4vla.encoder_inputs import dino_pixels, patch_rows
    from stvla_ros.policy.st4vla.eyes import Eyes
    from stvla_ros.policy.st4vla.sampler import Sampler
    from stvla_ros.policy.st4vla.sizes import GUIDANCE, STEPS, config_of_size

    config = St4VlaConfig.from_dict(config_of_size(size))
    # As it is read on a GPU.
    model = empty_model(config).to_dtype(torch.bfloat16 if size == "4b" else torch.float32)
    language = model.qwen_vl_interface.model.model
    with torch.inference_mode():
        eyes, sampler = Eyes(language.visual, config.picture_size), Sampler(model.action_model.net, STEPS, GUIDANCE)
    with torch.inference_mode(), torch.device("meta"):
        picture, width = torch.empty(1, 3, config.picture_size, config.picture_size), config.vlm.text_config.hidden_size
        prompt = torch.empty(1, _PROMPT_TOKENS, width, dtype=model.dtype)
        seen = torch.empty(1, _PROMPT_TOKENS + (config.picture_size // 14) ** 2, width)
        parts: dict[str, tuple[Callable[[], object], Any]] = {
            "picture encoder": (lambda: eyes(patch_rows(picture)), language.visual),
            "language model": (
                lambda: language.language_model(
                    inputs_embeds=prompt, attention_mask=dict.fromkeys(language.language_model.config.layer_types)
                ),
                language.language_model.layers,
            ),
            "DINOv2": (
                lambda: model.dino_pro(model.dino_encoder(dino_pixels(picture).to(model.dtype))),
                model.dino_encoder,
            ),
            "queries": (lambda: model.layer_qformer([seen] * config.states), model.layer_qformer),
            f"sampler, {STEPS} steps": (
                lambda: sampler(torch.empty(1, config.queries, config.width), torch.empty(1, config.chunk, 7)),
                model.action_model,
            ),
        }
        rows = []
        for name, (call, weights) in parts.items():
            with FlopCounterMode(display=False) as flops:
                call()
            read = sum(each.numel() * each.itemsize for each in weights.parameters())
            figures = {"giga_products_and_sums": flops.get_total_flops() / 1e9, "weights_MB": read / 1e6}
            rows.append({"what": f"ST4VLA {size}, {name}", **figures})
    return rows


if __name__ == "__main__":
    json.dump(measure(), sys.stdout)
