"""The ``small`` policy as in the server: a new checkpoint, loaded by ``load_policy`` in a process of its own.

640x480 pictures; a traced depth of 224x224 is given unless the row says otherwise; float32 on the CPU. The parts are
timed one by one on the same inputs. The further tokens are the time of a chunk after its first token, so the parts add
up to about a chunk. A process with one busy loop stands for the simulator and the perception, which share the cores
with the policy: OpenMP threads that wait for one another by spinning then lose whole time slices.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

CALLS = 30
# Long after the start; the first call is compared with this one.
LATE_CALLS = 100
BUSY_CALLS = 10
INSTRUCTION = "put the spoon on the towel"
# Settings of OpenMP in the environment; the parts are measured in the first.
THREADING: dict[str, dict[str, str]] = {
    "as it comes": {},
    "OMP_NUM_THREADS=1": {"OMP_NUM_THREADS": "1"},
    "OMP_WAIT_POLICY=passive": {"OMP_WAIT_POLICY": "passive"},
}


def rows() -> list[dict[str, Any]]:
    """The rows, from fresh processes: OpenMP reads the environment once, and the memory figure must be the policy's
    alone.
    """
    result = []
    for number, (threading, environment) in enumerate(THREADING.items()):
        command = [sys.executable, "-m", "bench.policy_small", threading, *(["parts"] if number == 0 else [])]
        output = subprocess.run(
            command, env=os.environ | environment, stdout=subprocess.PIPE, check=True, text=True
        ).stdout
        result += json.loads(output)
    return result


@contextmanager
def busy_process() -> Iterator[None]:
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def measure(threading: str, with_parts: bool) -> list[dict[str, Any]]:
    """The rows of whole chunks in this process, then those of their parts."""
    import psutil
    import torch

    from bench.policy_timing import time_ms
    from stvla_ros.policy import load_policy
    from stvla_ros.policy.spatialvla.create import create_checkpoint

    cpu = torch.device("cpu")
    generator = np.random.default_rng(0)
    rgb = generator.integers(0, 255, (480, 640, 3), np.uint8)
    depth = generator.uniform(0.3, 1.5, (224, 224)).astype(np.float32)
    with tempfile.TemporaryDirectory() as folder:
        create_checkpoint(Path(folder) / "small", "small")
        size_mb = sum(file.stat().st_size for file in (Path(folder) / "small").iterdir()) / 1e6
        policy = load_policy(str(Path(folder) / "small"))

    def chunks(count: int, with_depth: np.ndarray | None = depth) -> np.ndarray:
        return np.array([time_ms(lambda: policy.predict(rgb, INSTRUCTION, with_depth), cpu) for _ in range(count)])

    def row(what: str, milliseconds: np.ndarray, **more: Any) -> dict[str, Any]:
        p50, p99 = np.percentile(milliseconds, (50, 99))
        return {"what": f"{name}: {what}", "p50_ms": p50, "p99_ms": p99, **more}

    warm_up = time_ms(policy.warm_up, cpu)
    name = f"small, {threading}, {torch.get_num_threads()} threads"
    first, alone = chunks(1), chunks(LATE_CALLS)
    memory = psutil.Process().memory_info().rss / 1e6
    result = [row("chunk", alone[:CALLS], target="well under 200 ms")]
    with busy_process():
        result.append(row("chunk beside a busy process", chunks(BUSY_CALLS), target="well under 200 ms"))
    if with_parts:
        late = np.median(alone[-CALLS:])
        result += [
            {"what": f"{name}: warm-up", "p50_ms": warm_up},
            {"what": f"{name}: first chunk after it", "p50_ms": first[0], "target": f"as the 100th: {late:.3g} ms"},
            row("chunk, depth by its own ZoeDepth", chunks(CALLS + 1, None)[1:]),
            *_part_rows(policy, rgb, depth),
            {"what": "process with the policy alone", "rss_mb": round(memory), "target": "server < 1000 MB"},
            {"what": "checkpoint on disk", "disk_mb": round(size_mb, 1), "target": "< 20 MB"},
            *_compiled_rows(policy, lambda each: each.predict(rgb, INSTRUCTION, depth)),
        ]
    return result


def _compiled_rows(policy: Any, call: Callable[[Any], object]) -> list[dict[str, Any]]:
    """Compiled and not compiled by turns, after a warm-up without earlier compiled code. Runs last, because it loads
    Inductor.
    """
    import torch

    from bench.policy_timing import interleave, time_ms
    from stvla_ros.policy.spatialvla.decoding.decoder import Accelerations
    from stvla_ros.policy.spatialvla.predictor import SpatialVlaPredictor

    compiling = Accelerations(compiled_parts=True)
    compiled = SpatialVlaPredictor(policy.model, policy.prompt_tokenizer, policy.processor, compiling)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = folder
        warm_up = time_ms(compiled.warm_up, torch.device("cpu"))
        ways = interleave({"as it is": lambda: call(policy), "compiled parts": lambda: call(compiled)}, CALLS)
    rows: list[dict[str, Any]] = [{"what": "compiled parts: warm-up, nothing compiled before", "p50_ms": warm_up}]
    for way, times in ways.items():
        p50, p99 = np.percentile(times, (50, 99))
        rows.append({"what": f"chunk by turns: {way}", "p50_ms": p50, "p99_ms": p99})
    return rows


def _part_rows(policy: Any, rgb: np.ndarray, depth: np.ndarray) -> list[dict[str, Any]]:
    import torch

    from bench.policy_timing import interleave

    with torch.inference_mode():
        parts = interleave(_parts(policy, rgb, depth), CALLS)
    parts["11 further tokens"] = parts.pop("12 tokens") - parts["prefill and first token"]
    whole = sum(float(np.median(times)) for times in parts.values())
    result = []
    for part, times in parts.items():
        p50, p99 = np.percentile(times, (50, 99))
        result.append({"what": f"part: {part}", "p50_ms": p50, "p99_ms": p99, "share_percent": 100 * p50 / whole})
    return result


def _parts(policy: Any, rgb: np.ndarray, depth: np.ndarray) -> dict[str, Callable[[], object]]:
    import torch

    from bench.policy_timing import legal_ranges
    from stvla_ros.policy.pictures import prepare_depth, prepare_picture, scale_intrinsics
    from stvla_ros.policy.spatialvla.decoding.token_predictor import TokenPredictor

    model, ranges = policy.model, legal_ranges()
    size, picture_size = model.config.image_size, (rgb.shape[1], rgb.shape[0])
    intrinsics = torch.from_numpy(scale_intrinsics(np.diag([600.0, 600.0, 1.0]), picture_size, size))[None]
    pixels = torch.from_numpy(prepare_picture(rgb, size))[None]
    prepared_depth = torch.from_numpy(prepare_depth(depth, picture_size, size))[None]
    points = model.points(prepared_depth, intrinsics)
    ids = torch.from_numpy(policy.prompt_tokenizer.encode(INSTRUCTION))[None]
    text = model.embed_text(ids[:, model.config.num_image_tokens :])
    features = model.image_features(pixels, points)
    first, chunk = TokenPredictor(model, ranges[:1]), TokenPredictor(model, ranges)
    return {
        "picture to 224x224": lambda: prepare_picture(rgb, size),
        "depth check": lambda: prepare_depth(depth, picture_size, size),
        "prompt": lambda: policy.prompt_tokenizer.encode(INSTRUCTION),
        "points": lambda: model.points(prepared_depth, intrinsics),
        "picture encoder": lambda: model.image_features(pixels, points),
        "prefill and first token": lambda: first.decode(features, text),
        "12 tokens": lambda: chunk.decode(features, text),
    }


if __name__ == "__main__":
    json.dump(measure(sys.argv[1], "parts" in sys.argv[2:]), sys.stdout)
