"""Runs episodes through the live graph: the same processes as `stvla sim`, one run for a policy's episodes of a
task.
"""

import os
from collections.abc import Callable, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from stvla_ros.acting.results import EpisodeKey, EpisodeResult
from stvla_ros.acting.setup import MEASURED, EvaluatedPolicy
from stvla_ros.errors import InputError
from stvla_ros.graph.arguments import SimArguments, input_arguments
from stvla_ros.graph.assemble import sim_graph
from stvla_ros.middleware import check_middleware
from stvla_ros.safe_files import read_json_file
from stvla_ros.settings import one_line_yaml

INTERRUPTED = 130
# Parameters of a policy for which the graph has arguments of its own.
_OWN_ARGUMENTS = ("device", "dtype", "unnorm_key")


def check_live(
    policies: Sequence[EvaluatedPolicy], seeds: Sequence[int], until_limit: bool, image_size: tuple[int, int]
) -> None:
    """:raises InputError: for anything that the live graph cannot do."""
    if until_limit:
        raise InputError("live: expected no until_limit; the live graph ends an episode with its first success")
    if image_size != (0, 0):
        raise InputError("live: expected no image_size; the live graph has the task's own")
    if tuple(seeds) != (0,):
        raise InputError("live: expected seeds 0; only a direct evaluation moves the arm before the policy begins")
    for policy in policies:
        if policy.sticky_gripper is not None:
            raise InputError(f"live: policy {policy.label}: sticky_gripper: expected the robot's own")
        if policy.added_latency or policy.inference_latency != MEASURED:
            raise InputError(f"live: policy {policy.label}: expected no simulated latency; the live one is real")


def sim_arguments(
    policy: EvaluatedPolicy, task: str, first_episode: int, episodes: int, max_steps: int, video: bool
) -> SimArguments:
    """The arguments with which `stvla sim` runs these episodes as the evaluation does."""
    own = {key: str(policy.parameters[key]) for key in _OWN_ARGUMENTS if key in policy.parameters}
    further = {key: value for key, value in policy.parameters.items() if key not in own}
    return SimArguments(
        policy=policy.policy,
        checkpoint=policy.checkpoint,
        policy_parameters=one_line_yaml(further),
        execution=policy.execution,
        ensembled_chunks=policy.ensembled_chunks,
        fused=True,
        task=task,
        episodes=episodes,
        first_episode=first_episode,
        pacing=policy.pacing,
        max_steps=max_steps,
        video=video,
        **own,
        **input_arguments(policy.inputs, policy.policy, policy.checkpoint),
    )


def run_live(
    keys: Sequence[EpisodeKey],
    policies: Sequence[EvaluatedPolicy],
    max_steps: int,
    video: bool,
    folder: Path,
    take: Callable[[EpisodeResult], None],
    report: Callable[[str], None],
) -> list[EpisodeKey]:
    """Run the episodes in the live graph.

    :param folder: folder of the evaluation; each graph gets a folder of its own in its ``live``.
    :param take: function that is called with every result.
    :param report: function that is called with one line for every graph that failed.
    :returns: the episodes without a result.
    :raises KeyboardInterrupt: after Ctrl-C; finished episodes have been taken.
    """
    from stvla_ros.graph.supervisor import run_graph

    check_middleware(os.environ)
    by_label = {policy.label: policy for policy in policies}
    failed: list[EpisodeKey] = []
    for run in contiguous(keys):
        key = run[0]
        name = f"{key.policy}_{key.task.replace('/', '-')}_{key.episode:03d}"
        arguments = sim_arguments(by_label[key.policy], key.task, key.episode, len(run), max_steps, video)
        directory = folder / "live" / name
        summary = directory / "summary.json"
        summary.unlink(missing_ok=True)  # left by a run that was stopped
        code = run_graph(sim_graph(arguments, directory))
        results = read_summary(summary, key.policy, key.task) if summary.exists() else {}
        for each in run:
            if each in results:
                take(results[each])
            else:
                failed.append(each)
        if code == INTERRUPTED:
            raise KeyboardInterrupt
        if code:
            report(f"{key.policy} on {key.task}, episodes from {key.episode}: the live graph ended with code {code}")
    return failed


def contiguous(keys: Sequence[EpisodeKey]) -> list[list[EpisodeKey]]:
    """The episodes, grouped into runs of consecutive ids of one task and policy, since one graph can run such a
    group.
    """
    ordered = sorted(keys)
    numbered = enumerate(ordered)
    runs = groupby(numbered, key=lambda item: (item[1].task, item[1].policy, item[1].seed, item[1].episode - item[0]))
    return [[key for _, key in run] for _, run in runs]


def read_summary(file: Path, policy: str, task: str) -> dict[EpisodeKey, EpisodeResult]:
    """The results in a live run's ``summary.json``. They lack the goal conditions.

    :raises InputError: when it is damaged.
    """
    try:
        return _results(read_json_file(file), policy, task)
    except InputError:
        raise
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(f"{file}: expected the summary of a live run ({type(error).__name__}: {error})") from error


def _results(summary: dict[str, Any], policy: str, task: str) -> dict[EpisodeKey, EpisodeResult]:
    server = summary["stages"].get("vla_server", {})
    latency = {name: server.get(f"processing_{name}_ms") for name in ("p50", "p99")}
    inference = {name: value for name, value in latency.items() if isinstance(value, int | float)}
    results = {}
    for episode in summary["episodes"]:
        key = EpisodeKey(task, policy, 0, episode["episode_id"])
        success = bool(episode["success"])
        results[key] = EpisodeResult(
            key, success, success, episode["steps"], episode["instruction"], inference_ms=inference
        )
    return results
