"""Questions about a task's official episodes, which no demonstration and no grounding data show: to test networks."""

import json
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from stvla_ros.atomic_files import make_folder, write_json
from stvla_ros.child_process import end_with_parent
from stvla_ros.errors import InputError
from stvla_ros.learning.grounding.watching import Watcher
from stvla_ros.learning.grounding.writing import stage, write_grounding
from stvla_ros.sim.environment import Environment

_FRAMES = 4
_PICTURE = (320, 240)  # as `stvla record` has them


@dataclass(frozen=True)
class OfficialQuestions:
    """
    :param folder: folder with questions about the frames of official episodes, in which the expert acts.
    :param halves: half of the table of each episode's object to move, by episode; empty: not asked for.
    """

    folder: Path
    halves: tuple[str, ...]


def record_official(
    tasks: Sequence[str], episodes: int, workers: int, folder: Path, halves: bool = False
) -> dict[str, OfficialQuestions]:
    """Record the tasks whose questions are not there yet, a task in a process.

    :param tasks: tasks with an expert.
    :param episodes: number of official episodes of each, the first ones.
    :param halves: whether the half of the table is noted, too.
    :returns: the questions by task.
    :raises InputError: when the folder holds others; when a simulator cannot tell what is asked for.
    """
    make_folder(folder)
    wanted = {task: folder / task.replace("/", "-") for task in tasks}
    missing = [task for task in tasks if not wanted[task].is_dir()]
    # Read when the renderer is loaded.
    os.environ["LP_NUM_THREADS"] = "1"
    if missing:
        print(f"asking about {episodes} official episodes of {', '.join(missing)}", flush=True)
        with ProcessPoolExecutor(workers, get_context("spawn"), initializer=end_with_parent) as pool:
            for running in [pool.submit(_record, task, episodes, halves, wanted[task]) for task in missing]:
                running.result()
    found = {}
    for task, place in wanted.items():
        noted = json.loads(_note(place).read_text())
        if noted["episodes"] != episodes or (halves and not noted["halves"]):
            there = f"questions about {noted['episodes']} episodes{'' if noted['halves'] else ' without halves'}"
            raise InputError(f"official {place}: it has {there}, asked for {episodes}; choose another output")
        found[task] = OfficialQuestions(place, tuple(noted["halves"]))
    return found


def _note(place: Path) -> Path:
    return place.with_name(f"{place.name}.json")


def _record(task: str, episodes: int, halves: bool, place: Path) -> None:
    from stvla_ros.sim.tasks import make_environment

    environment = make_environment(task, image_size=_PICTURE)
    staged, found = [], []
    try:
        for episode in range(episodes):
            file = place.with_name(f".{place.name}-{episode:03d}.npz")
            found += _watch(environment, episode, halves, file)
            staged.append(file)
    finally:
        environment.close()
    write_json(_note(place), {"episodes": episodes, "halves": found})
    write_grounding(place, staged)  # it appears last: then all is there
    for file in staged:
        file.unlink()


def _watch(environment: Environment, episode: int, halves: bool, file: Path) -> list[str]:
    """Let the expert act in an official episode, and keep pictures with questions. :returns: its half, if wanted."""
    observation = environment.reset(episode)
    half = [environment.half()] if halves else []
    watcher = Watcher(environment)
    for _ in range(environment.info.max_steps):
        watcher(observation)
        action = environment.expert_action()
        if action is None:
            raise InputError(f"task {environment.info.task}: expected one with an expert, there is none")
        result = environment.step(action)
        observation = result.observation
        if result.success:
            break
    stage(file, watcher.asked(_FRAMES, np.random.default_rng([episode])))
    return half
