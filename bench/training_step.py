"""A training step of the small model with the settings of ``config/train/small.yaml``, on frames of random numbers:
forward pass, backward pass, optimiser, averaged weights, and the next batch with its augmentation.

Measured is the processor time of the whole process with one thread of torch: other work on the machine changes it less
than the time on the clock. ``python -m bench.training_step DIRECTORY`` takes turns with the code in another directory
(a worktree of another commit), a step of one after a step of the other, and prints the ratio.
"""

import dataclasses
import json
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

STEPS, WARM_UP = 12, 2
EPISODES, FRAMES = 8, 40
HERE = Path(__file__).parents[1]


def rows(other: Path | None = None) -> list[dict[str, Any]]:
    """:param other: directory with other code to compare with; None for this code alone."""
    times = interleaved([HERE, *([other] if other else [])])
    result: list[dict[str, Any]] = [
        {
            "what": f"small model, a step of 32 samples, one thread{': ' if other else ''}{name}",
            "cpu_s": f"{np.median(each):.3f} ({each.min():.3f}..{each.max():.3f})",
            "n": len(each),
        }
        for name, each in zip(("this", str(other)), times)
    ]
    if other:
        ratio = times[0] / times[1]
        seen = f"{np.median(ratio):.3f} ({ratio.min():.3f}..{ratio.max():.3f})"
        result.append({"what": "this / other, of steps beside each other", "ratio": seen, "n": len(ratio)})
    return result


def interleaved(places: list[Path]) -> list[np.ndarray]:
    """Seconds of processor time of each step, (STEPS,) for each directory; their processes take turns step by step."""
    with ExitStack() as stack:
        workers = []
        for place in places:
            command = [sys.executable, str(Path(__file__).resolve()), "steps", str(place)]
            worker = subprocess.Popen(command, cwd=place, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            stack.callback(worker.wait)
            stack.callback(worker.stdin.close)  # type: ignore[union-attr]  # it ends then
            workers.append(worker)
        times: list[list[float]] = [[] for _ in places]
        for step in range(WARM_UP + STEPS):
            for worker, seconds in zip(workers, times):
                print(step, file=worker.stdin, flush=True)
                answer = worker.stdout.readline()  # type: ignore[union-attr]
                if not answer:
                    raise RuntimeError(f"a step did not come to its end (exit code {worker.wait()})")
                if step >= WARM_UP:
                    seconds.append(json.loads(answer))
    return [np.array(each) for each in times]


def small_trainer() -> Any:
    """A ``Trainer`` as in the shipped policy's fourth round (traces drawn on the depth), from its checkpoint."""
    import torch

    from stvla_ros.learning.training.config import read_config
    from stvla_ros.learning.training.loop import Trainer
    from stvla_ros.learning.training.stages import make_stages
    from stvla_ros.policy.families import find_family
    from stvla_ros.policy.lora import trainable_parameters
    from stvla_ros.policy.trainable import Start

    config = read_config(
        HERE / "config/train/small.yaml", {"checkpoint": str(HERE / "models/small"), "inputs.traces": "depth"}
    )
    config = dataclasses.replace(config, data=dataclasses.replace(config.data, paths=("random",)))
    samples = random_samples()
    start = Start(
        base=HERE / "models/small",
        base_name="models/small",
        is_new=False,
        options=config.family_options(),
        objectives=frozenset(config.all_objectives()),
        inputs=config.inputs,
        lora=None,
        actions=samples.actions,
        episodes=EPISODES,
        unnorm_key="random",
        seed=config.seed,
        device=torch.device("cpu"),
        precision=torch.bfloat16 if torch.cpu.get_capabilities().get("avx512_bf16", False) else torch.float32,
    )
    trainable = find_family(config.family.name).trainable(start)
    trainable.use(samples)
    stages = make_stages(config.all_stages(config.steps), trainable_parameters(trainable.module))
    frames = np.arange(len(samples))
    return Trainer(config, trainable, stages, [frames], frames, torch.device("cpu"))


def random_samples() -> Any:
    from stvla_ros.policy.samples import Samples

    random, count = np.random.default_rng(0), EPISODES * FRAMES
    actions = random.normal(0.0, 0.02, (count, 7)).astype(np.float32)
    actions[:, 6] = random.random(count) < 0.5
    episode = np.repeat(np.arange(EPISODES), FRAMES)
    return Samples(
        prepared={
            "pictures": random.integers(0, 256, (count, 224, 224, 3), np.uint8),
            "depths": random.uniform(0.3, 1.5, (count, 224, 224)).astype(np.float16),
            "intrinsics": np.tile(np.array([[220.0, 0, 112], [0, 220, 112], [0, 0, 1]], np.float32), (count, 1, 1)),
        },
        actions=actions,
        executed=actions,
        states=np.zeros((count, 7), np.float32),
        scene_points=random.normal((0.0, 0.0, 0.8), 0.1, (count, 3, 3)).astype(np.float32),
        stamps=np.tile(np.arange(FRAMES, dtype=np.int64) * 200_000_000, EPISODES),
        episode=episode,
        last=(episode + 1) * FRAMES - 1,
        instructions=tuple(f"put the spoon on towel {number}" for number in range(EPISODES)),
    )


def answer_steps() -> None:
    """For each line that is read: make a step, and print its processor time."""
    import cv2
    import torch

    from stvla_ros.freed_memory import keep_freed_memory

    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    keep_freed_memory(whatever_its_size=True)
    trainer = small_trainer()
    for _ in sys.stdin:
        begun = time.process_time()
        trainer.train_step()
        print(time.process_time() - begun, flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["steps"]:
        sys.path.insert(0, sys.argv[2])
        answer_steps()
    else:
        for row in rows(Path(sys.argv[1]).resolve() if sys.argv[1:] else None):
            print(row)
