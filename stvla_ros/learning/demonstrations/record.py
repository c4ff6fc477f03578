"""`stvla record`: the scripted expert's episodes as a data set."""

import dataclasses
import hashlib
import json
import math
import os
import shutil
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np

from stvla_ros.acting.policy_texts import parse_policy
from stvla_ros.acting.setup import check_loadable
from stvla_ros.atomic_files import make_folder, write_json
from stvla_ros.child_process import end_with_parent
from stvla_ros.control.actions import EndEffectorAction
from stvla_ros.errors import InputError
from stvla_ros.learning.datasets.lerobot.writer import LeRobotWriter
from stvla_ros.learning.demonstrations.noise import ActionNoise, NoiseParameters
from stvla_ros.learning.demonstrations.staging import load_episode, save_episode
from stvla_ros.learning.grounding.reading import FOLDER
from stvla_ros.learning.grounding.watching import LOT, OF_AN_EPISODE, Watcher, record_placements
from stvla_ros.learning.grounding.writing import stage, write_grounding
from stvla_ros.progress import told_until_first
from stvla_ros.settings import Range, check_ranges
from stvla_ros.sim.environment import reset_at_random
from stvla_ros.sim.tasks import find_task, require_task

# The expert may fail when it is pushed. This many placements are tried for one episode.
_MOST_ATTEMPTS = 20
# Time for an episode, as a multiple of the task's own limit: recovering from pushes takes longer than the plain path.
_TIME = 1.5


RECORDING = "recording.json"
"""File in the data set: the arguments that it was recorded with."""


@dataclass(frozen=True)
class RecordArguments:
    """Record episodes of the scripted expert in simulation as a LeRobotDataset."""

    tasks: tuple[str, ...] = ("stack_cube",)
    """Tasks, see `stvla tasks`."""
    episodes: Annotated[int, Range(0, 1_000_000)] = 50
    """Successful episodes of each task."""
    grounding: Annotated[int, Range(0, 1_000_000)] = 0
    """Pictures of each task with questions about the places of things, and their answers. They show random placements
    with nobody acting, and up to 8 frames of each episode. They lie in the data set's folder `grounding`, in LLaVA's
    layout."""
    half: Literal["", "left", "right"] = ""
    """Half of the table, as the camera sees it, in which the episodes' objects and goals are placed; empty: all of it.
    The placements of `grounding`, in which nobody acts, are always on all of it."""
    seed: Annotated[int, Range(0, 2**31 - 1)] = 0
    """Seed of placements and noise: the same seed gives the same data set."""
    noise: NoiseParameters = field(default_factory=NoiseParameters)
    """Noise on the executed actions; the labels stay the expert's."""
    policy: str = ""
    """A policy, as in `stvla eval`, that acts in turn with the expert: the data set gets the expert's answers in the
    policy's own states (DAgger, arXiv 1011.0686). Its failures are kept."""
    latency: tuple[float, float] = (0.0, 0.0)
    """With a policy: milliseconds from an observation to its answer, while the world goes on. Each episode draws its
    own latency between the two numbers; 0 0: the world waits."""
    linger: Annotated[int, Range(0, 10_000)] = 0
    """Control steps that are recorded after the success, so that a policy learns to stop."""
    image_width: Annotated[int, Range(32, 8192)] = 320
    """Width of the pictures, pixels."""
    image_height: Annotated[int, Range(32, 8192)] = 240
    """Height of the pictures, pixels."""
    video: bool = False
    """Write colour as mp4 (small, but traces differ a little from the live ones) instead of lossless pictures."""
    workers: Annotated[int, Range(1, 1000)] = 2
    """Number of processes, one core each."""
    output: str = "out/datasets/demonstrations"
    """Folder of the data set; it must not exist. With tasks of several robots, each gets a data set in it. After an
    interruption, the same command continues."""


@dataclass(frozen=True)
class _Job:
    task: str
    index: int
    file: Path
    placements: bool = False

    @property
    def questions(self) -> Path:
        """File with the pictures and their questions."""
        return self.file if self.placements else self.file.with_suffix(".questions.npz")


def main(arguments: RecordArguments) -> int:
    """:raises InputError: for a bad argument, or when there is a data set already."""
    output = Path(arguments.output).resolve()
    staging = _staging(output, arguments)
    jobs = [
        _Job(task, index, staging / f"{task.replace('/', '-')}-{index:05d}.npz")
        for task in arguments.tasks
        for index in range(arguments.episodes)
    ]
    jobs += [
        _Job(task, lot, staging / f"{task.replace('/', '-')}-placements-{lot:05d}.npz", placements=True)
        for task in arguments.tasks
        for lot in range(math.ceil(arguments.grounding / LOT))
    ]
    left = [job for job in jobs if not job.file.is_file()]
    failures = _run(left, arguments)
    for task, count in failures.items():
        print(f"{task}: {count} episodes in which the expert failed were left out and drawn again")
    return _assemble(jobs, output, staging, arguments)


def _staging(output: Path, arguments: RecordArguments) -> Path:
    """The folder for finished episodes, new or from an interrupted recording."""
    check_ranges(arguments)
    for task in arguments.tasks:
        if not find_task(task).has_expert and arguments.episodes:
            raise InputError(f"tasks: expected tasks with an expert, {task} has none")
        require_task(task)
    if not arguments.episodes and not arguments.grounding:
        raise InputError(
            f"episodes, grounding: expected at least 1 of one of them, got {arguments.episodes} and "
            f"{arguments.grounding}"
        )
    if any(arguments.latency):
        from stvla_ros.learning.demonstrations.policy_actor import check_latency

        check_latency(arguments.latency)
        if not arguments.policy:
            raise InputError("latency: expected a policy with it, the expert's answers are never late")
    if arguments.policy:
        check_loadable(parse_policy(arguments.policy), {find_task(task).robot for task in arguments.tasks})
    if output.exists():
        raise InputError(f"output {output}: expected a new folder, it is there already")
    staging = output.with_name(f".{output.name}-episodes")
    settings = json.dumps(_settings(arguments), indent=2) + "\n"
    file = staging / "settings.json"
    if file.is_file() and file.read_text() != settings:
        raise InputError(f"{staging}: holds episodes of a recording with other settings; remove it, or repeat those")
    make_folder(staging)
    file.write_text(settings)
    return staging


def _settings(arguments: RecordArguments) -> dict[str, Any]:
    """The settings that determine an episode's content."""
    kept = dataclasses.asdict(arguments)
    for name in ("tasks", "episodes", "workers", "output", "video"):
        del kept[name]
    if not arguments.half:
        del kept["half"]  # recordings from before do not have it
    # Whether there are questions changes an episode's files; the number of separate placements does not.
    return {**kept, "grounding": arguments.grounding > 0}


def _made_by(arguments: RecordArguments) -> dict[str, Any]:
    """What was asked for: the same again gives the same data set."""
    return {name: value for name, value in dataclasses.asdict(arguments).items() if name not in ("workers", "output")}


def _run(jobs: list[_Job], arguments: RecordArguments) -> Counter[str]:
    """Record the episodes that are missing. :returns: failed attempts by task."""
    from tqdm import tqdm

    failures: Counter[str] = Counter()
    # Read when the renderer is loaded. With one thread each, two processes do twice as much on two cores.
    os.environ["LP_NUM_THREADS"] = "1"
    with (
        ProcessPoolExecutor(arguments.workers, get_context("spawn"), initializer=end_with_parent) as pool,
        tqdm(total=len(jobs), desc="record", unit="episode", file=sys.stderr, smoothing=0.05) as bar,
        told_until_first(bar, "starting the simulator"),
    ):
        waiting: Iterator[_Job] = iter(jobs)
        running: set[Future[tuple[str, int]]] = set()
        while True:
            # Few at a time: an interrupted recording then ends after the episodes that are in progress.
            for job in waiting:
                running.add(pool.submit(_record, job, arguments))
                if len(running) > arguments.workers:
                    break
            if not running:
                return failures
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                task, failed = future.result()
                failures[task] += failed
                bar.update()


# The environment of this worker process and the policy in it; making them takes seconds.
_environment: dict[str, Any] = {}


def _record(job: _Job, arguments: RecordArguments) -> tuple[str, int]:
    """Record one episode in a worker process. :returns: the task, and how many attempts failed."""
    import torch

    from stvla_ros.learning.demonstrations.policy_actor import PolicyActor
    from stvla_ros.learning.demonstrations.rollout import roll_out
    from stvla_ros.sim.tasks import make_environment

    torch.set_num_threads(1)
    if job.task not in _environment:
        for other, _ in _environment.values():
            other.close()
        _environment.clear()
        made = make_environment(job.task, image_size=(arguments.image_width, arguments.image_height))
        _environment[job.task] = (
            made,
            PolicyActor(arguments.policy, made, arguments.latency) if arguments.policy else None,
        )
    environment, policy = _environment[job.task]
    task_number = int.from_bytes(hashlib.sha256(job.task.encode()).digest()[:4], "big")
    if job.placements:
        first = job.index * LOT
        numbers = range(first, min(first + LOT, arguments.grounding))
        record_placements(environment, (arguments.seed, task_number), numbers, job.file)
        return job.task, 0
    max_steps = round((1.0 if policy else _TIME) * environment.info.max_steps)
    for attempt in range(_MOST_ATTEMPTS):
        entropy = np.random.SeedSequence([arguments.seed, task_number, job.index, attempt])
        placement_seed = int(entropy.generate_state(1)[0])
        observation = reset_at_random(environment, placement_seed, arguments.half)
        random = np.random.default_rng(entropy.spawn(1)[0])
        noise = ActionNoise(arguments.noise, random)
        if policy is None:
            actor = _expert
        else:
            policy.begin(random)
            actor = policy
        watcher = Watcher(environment, with_way=policy is None) if arguments.grounding else None
        episode = roll_out(environment, observation, actor, noise, max_steps, arguments.linger, watcher)
        if episode.success or policy is not None:
            if watcher is not None:
                stage(job.questions, watcher.asked(OF_AN_EPISODE, np.random.default_rng(entropy.spawn(1)[0])))
            source = {"task": job.task, "index": job.index, "placement_seed": placement_seed}
            source |= policy.source if policy else {}
            save_episode(job.file, dataclasses.replace(episode, source=source))
            return job.task, attempt
    raise InputError(f"task {job.task}: the expert failed in {_MOST_ATTEMPTS} placements one after the other")


def _expert(_observation: Any, _stamp: int, _instruction: str, label: EndEffectorAction) -> EndEffectorAction:
    return label


def _assemble(jobs: list[_Job], output: Path, staging: Path, arguments: RecordArguments) -> int:
    """Make the data set from the finished episodes: one for each robot, because a LeRobotDataset has one robot."""
    robots: dict[str, list[_Job]] = {}
    for job in jobs:
        robots.setdefault(find_task(job.task).robot, []).append(job)
    for robot, of_robot in robots.items():
        folder = output / robot if len(robots) > 1 else output
        if arguments.episodes:
            with LeRobotWriter(folder, robot, video=arguments.video) as writer:
                for job in of_robot:
                    if not job.placements:
                        writer.add_episode(load_episode(job.file))
            print(f"{folder}: {writer.num_episodes} episodes, {writer.num_frames} frames")
        if arguments.grounding:
            counts = write_grounding(folder / FOLDER, [job.questions for job in of_robot])
            print(f"{folder / FOLDER}: {counts[0]} pictures, {counts[1]} questions")
        write_json(folder / RECORDING, _made_by(arguments))
    shutil.rmtree(staging)
    return 0
