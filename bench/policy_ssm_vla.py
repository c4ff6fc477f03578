"""The ``small`` policy after SSM-VLA as in the server, by turns with a straightforward loop.

640x480 pictures with depth, and one of a second before; 10 steps, float32 on the CPU, one thread of torch, as a server
on two cores has it. What the thread computed (its processor time) stands beside the time until the answer, which other
processes lengthen. The straightforward loop follows the method's description word for word: every token goes through
every block, each product and softmax of the attention is written out, and each step of the sampler embeds its time, and
looks at the states of the action queries, anew. Its answers are the same.
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
INSTRUCTION = "stack the green block on the yellow block"
_ALIKE = 1e-3


def rows() -> list[dict[str, Any]]:
    """The rows, from a fresh process: OpenMP reads the environment once."""
    command = [sys.executable, "-m", "bench.policy_ssm_vla"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return [*json.loads(subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True, text=True).stdout)]


def measure() -> list[dict[str, Any]]:
    import torch

    from bench.policy_timing import interleave
    from stvla_ros.policy import load_policy
    from stvla_ros.policy.base import Picture
    from stvla_ros.policy.families import find_family
    from stvla_ros.policy.ssm_vla.model import Observations
    from stvla_ros.policy.ssm_vla.predictor import SsmVlaPredictor

    torch.set_num_threads(1)
    random = np.random.default_rng(0)
    rgb = random.integers(0, 256, (480, 640, 3), np.uint8)
    depth = random.uniform(0.3, 1.5, (480, 640)).astype(np.float32)
    camera = np.array([[600.0, 0, 320], [0, 600.0, 240], [0, 0, 1]])
    now, before = Picture(rgb, depth, camera), Picture(rgb[:, ::-1].copy(), depth[:, ::-1].copy(), camera)
    with tempfile.TemporaryDirectory() as folder:
        find_family("ssm_vla").create(Path(folder) / "small", "small", 0)
        predictor = load_policy(str(Path(folder) / "small"))
    model = predictor.model
    # New heads say nothing, and new blocks of the flow add nothing: any loop would then give the same.
    for part in (model.flow.velocity, *(block.modulation for block in model.flow.blocks)):
        torch.nn.init.normal_(part.weight, std=0.02)
    predictor = SsmVlaPredictor(model, predictor.words, predictor.statistics)

    def chunk() -> np.ndarray:
        predictor.reset()
        return predictor.predict(rgb, INSTRUCTION, depth, camera, earlier=before).normalized

    def prepared() -> Any:
        words = torch.from_numpy(predictor.words.encode(INSTRUCTION))[None]
        return Observations(predictor._scene(now), predictor._scene(before), words)

    @torch.inference_mode()
    def straightforward() -> np.ndarray:
        given = prepared()
        vision, actions = straightforward_states(model, given)
        noise = torch.randn(1, model.config.chunk, 7, generator=torch.Generator().manual_seed(0))
        model.picture(given.now, vision[:, None])
        return straightforward_sample(model, actions, noise)[0].numpy()

    given = torch.inference_mode()(prepared)()
    states = torch.inference_mode()(model.states)(given)
    noise = torch.randn(1, model.config.chunk, 7)
    calls: Mapping[str, Callable[[], object]] = {
        "chunk": chunk,
        "chunk, straightforward loop": straightforward,
        "of it: pictures to tokens' numbers": torch.inference_mode()(prepared),
        "of it: transformer": torch.inference_mode()(lambda: model.states(given)),
        "of it: transformer, straightforward": torch.inference_mode()(lambda: straightforward_states(model, given)),
        "of it: the picture to come": torch.inference_mode()(lambda: model.expected(given.now, states)),
        "of it: sampler": torch.inference_mode()(lambda: predictor._sample(states.actions, noise)),
        "of it: sampler, straightforward": torch.inference_mode()(
            lambda: straightforward_sample(model, states.actions, noise)
        ),
    }
    predictor.reset()
    apart = float(np.abs(chunk() - straightforward()).max())
    if apart > _ALIKE:
        raise RuntimeError(f"the two loops answer differently, by {apart:g}")
    waited = interleave(calls, CALLS)
    times = interleave(calls, CALLS, clock=time.process_time)
    result = []
    for name, milliseconds in times.items():
        p50, p99 = np.percentile(waited[name], (50, 99))
        row: dict[str, Any] = {"what": f"SSM-VLA small, {name}", "p50_ms": p50, "p99_ms": p99}
        row["computed_ms"] = float(np.median(milliseconds))
        if name == "chunk":
            row["target"] = "<= 120 ms on 2 cores"
        if (other := f"{name}, straightforward") in times or (other := f"{name}, straightforward loop") in times:
            row["straightforward_ratio"] = float(np.median(times[other]) / np.median(milliseconds))
        result.append(row)
    return result


def straightforward_states(model: Any, given: Any) -> Any:
    """The states of vision and action queries: every token through every block."""
    import torch

    core = model.core(given)
    tokens = torch.cat([core, model.asked().expand(len(core), -1, -1)], dim=1)
    mask = model.mask(core.shape[1])
    for block in model.blocks:
        looking = block.space
        parts = looking.qkv(looking.norm(tokens)).chunk(3, dim=-1)
        split = [part.unflatten(-1, (model.config.heads, -1)).transpose(1, 2) for part in parts]
        scores = split[0] @ split[1].transpose(-1, -2) * split[0].shape[-1] ** -0.5
        looked = torch.softmax(scores.masked_fill(~mask, float("-inf")), dim=-1) @ split[2]
        tokens = tokens + looking.out(looked.transpose(1, 2).flatten(2))
        tokens = tokens + block.mlp(tokens)
    asked = model.norm(tokens)[:, core.shape[1] :]
    return asked[:, : model.patches], asked[:, -model.config.action_queries :]


def straightforward_sample(model: Any, states: Any, noise: Any) -> Any:
    """Euler's method, each step with the whole flow head."""
    from stvla_ros.policy.ssm_vla.sizes import STEPS

    chunk = noise
    for step in range(STEPS):
        times = noise.new_full((len(noise),), step / STEPS)
        chunk = chunk + model.flow(chunk, times, states) / STEPS
    return chunk


if __name__ == "__main__":
    json.dump(measure(), sys.stdout)
