"""The arguments of `stvla eval`, checked before anything runs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Literal

from stvla_ros.acting.policy_texts import parse_policy, read_policies
from stvla_ros.acting.results import EpisodeKey
from stvla_ros.acting.setup import MEASURED, EvaluatedPolicy, at_latencies, check_loadable, unique
from stvla_ros.errors import InputError
from stvla_ros.evaluation.journal import official_episodes
from stvla_ros.evaluation.presets import Preset, find_preset
from stvla_ros.policy.inputs import InputsConfig
from stvla_ros.policy.registry import OF_CHECKPOINT
from stvla_ros.policy.training_record import AUTO
from stvla_ros.settings import Range, check_ranges
from stvla_ros.sim.tasks import AUTO_TASK, find_task, resolve_task


@dataclass(frozen=True)
class EvalArguments:
    """Evaluate policies in simulation: a table with intervals, a video of every episode, a page of thumbnails.

    After a stop or an interruption, the same command continues where it stopped.
    """

    policies: tuple[str, ...] = ()
    """Each [label=]name[:checkpoint][?key=value,…] with name expert, random, stvla or my_package.my_module:MyPolicy, or
    a checkpoint folder in place of name:checkpoint. Keys: traces, depth (constant: a plane), execution, buffer,
    variant, adaptive, tracker, pacing, … or the policy's own. The others are compared with the first."""
    policies_file: str = ""
    """YAML file with a list of policies (docs/how-to/evaluate-a-policy.md), after those of `policies`."""
    tasks: tuple[str, ...] = (AUTO_TASK,)
    """Tasks, see `stvla tasks`; auto: stack_cube, or panda_pick_cube where the scenes of stack_cube cannot be had."""
    episodes: Annotated[int, Range(1, 1_000_000)] = 24
    """Official episodes of each task: ids 0 to N-1."""
    seeds: Annotated[tuple[int, ...], Range(0, 2**31 - 1)] = (0,)
    """Seeds. 0 is the benchmark itself. Another seed moves the arm by up to 1 cm before the policy begins. It also
    seeds the policy's random draws and, in tasks without fixed placements, the placements."""
    preset: str = ""
    """simplerenv-widowx: the published protocol in place of tasks, episodes and until_limit; default execution and
    resize of the policies as published."""
    until_limit: bool = False
    """Run each episode to its time limit and judge its last state (the published protocol); otherwise an episode ends
    with its first success."""
    max_steps: Annotated[int, Range(0, 1_000_000)] = 0
    """Time limit in control steps; 0 for the task's own."""
    pacing: Literal["", "lockstep", "realtime"] = ""
    """Whether simulated time waits for the policy; empty for each policy's own setting."""
    latency: str = "0"
    """Realtime: added latencies in milliseconds, e.g. 0,100,200,400. Several make a plot."""
    executions: str = ""
    """Realtime: executions to compare, e.g. receding,chunk,ensemble; empty for each policy's own."""
    inference_latency: str = "measured"
    """Realtime: duration of an inference: its measured wall time, or milliseconds, which makes the run
    deterministic."""
    live: bool = False
    """Run through the live graph (as `stvla sim`) instead of the environment alone: slower, one episode at a time."""
    workers: Annotated[int, Range(1, 1000)] = 2
    """Number of episodes at a time, each in a process with one thread."""
    image_size: tuple[int, int] = (0, 0)
    """Width and height of the camera's picture in pixels; 0 0 for the task's own."""
    pictures: Literal["videos", "thumbnails", "none"] = "videos"
    """Pictures and videos that are kept."""
    output: str = "out/eval"
    """Folder for the results. A stopped evaluation continues there; a different one is refused."""


@dataclass(frozen=True)
class Evaluation:
    """A checked evaluation, ready to run.

    :param episodes: number of episodes of each task.
    :param at_latency: line of the plot that a policy at a latency belongs to, by the policy's label.
    :param notes: lines for the user.
    """

    policies: tuple[EvaluatedPolicy, ...]
    tasks: tuple[str, ...]
    episodes: Mapping[str, int]
    seeds: tuple[int, ...]
    until_limit: bool
    at_latency: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def keys(self) -> list[EpisodeKey]:
        return official_episodes([policy.label for policy in self.policies], self.tasks, self.seeds, self.episodes)


def plan_evaluation(arguments: EvalArguments) -> Evaluation:
    """:raises InputError: naming the bad argument."""
    usual = usual_inputs(arguments.preset)
    policies = [parse_policy(text, usual) for text in arguments.policies]
    if arguments.policies_file:
        policies += read_policies(Path(arguments.policies_file), usual)
    return evaluation_of(policies, arguments)


def usual_inputs(preset: str) -> InputsConfig:
    """The inputs of a policy, where neither an argument nor its training says otherwise.

    :param preset: name of a preset; empty for none.
    """
    return find_preset(preset).inputs if preset else InputsConfig()


def evaluation_of(policies: Sequence[EvaluatedPolicy], arguments: EvalArguments) -> Evaluation:
    """As :func:`plan_evaluation`, for these policies instead of those in the arguments."""
    preset = find_preset(arguments.preset) if arguments.preset else None
    policies = unique(policies)
    if preset:
        policies = [_as_published(policy, preset) for policy in policies]
    if arguments.pacing:
        policies = [replace(policy, pacing=arguments.pacing) for policy in policies]
    if arguments.inference_latency != MEASURED:
        latency = _numbers("inference_latency", arguments.inference_latency)[0]
        policies = [replace(policy, inference_latency=latency) for policy in policies]
    for policy in policies:
        check_loadable(policy)
    notes = [f"{policy.label}: {note}" for policy in policies for note in policy.notes()]
    policies, lines = _with_latencies(arguments, policies)
    _check_numbers(arguments)
    asked = preset.tasks if preset else tuple(name for text in arguments.tasks for name in text.split(",") if name)
    count = preset.episodes if preset else arguments.episodes
    for task in asked:
        if task != AUTO_TASK:
            _check_task(task, count, policies)
    resolved = [resolve_task(task) for task in asked]
    tasks = tuple(dict.fromkeys(task for task, _ in resolved))
    if not tasks:
        raise InputError("tasks: expected at least one")
    episodes = dict.fromkeys(tasks, count)
    for task in tasks:
        _check_task(task, count, policies)
    for policy in policies:
        check_loadable(policy, {find_task(task).robot for task in tasks})
    until_limit = preset.until_limit if preset else arguments.until_limit
    if arguments.live:
        from stvla_ros.evaluation.live import check_live

        check_live(policies, arguments.seeds, until_limit, arguments.image_size)
    notes += [note for _, note in resolved if note]
    return Evaluation(tuple(policies), tasks, episodes, arguments.seeds, until_limit, lines, tuple(notes))


def _as_published(policy: EvaluatedPolicy, preset: Preset) -> EvaluatedPolicy:
    published = policy.policy == OF_CHECKPOINT and policy.execution == AUTO
    return replace(policy, execution=preset.execution) if published else policy


def _check_numbers(arguments: EvalArguments) -> None:
    check_ranges(arguments)
    seeds = arguments.seeds
    if not seeds or len(set(seeds)) != len(seeds):
        raise InputError(f"seeds: expected different whole numbers from 0, got {list(seeds)}")
    if arguments.image_size != (0, 0) and min(arguments.image_size) < 32:
        raise InputError(f"image_size: expected 0 0, or at least 32 pixels each, got {list(arguments.image_size)}")


def _with_latencies(
    arguments: EvalArguments, policies: list[EvaluatedPolicy]
) -> tuple[list[EvaluatedPolicy], dict[str, str]]:
    """The policies at every requested latency and execution, and each one's line in the plot."""
    latencies = _numbers("latency", arguments.latency)
    executions = [name for name in arguments.executions.split(",") if name]
    if latencies == [0.0] and not executions:
        return policies, {}
    if arguments.pacing != "realtime":
        raise InputError("latency, executions: expected pacing realtime; in lockstep the world waits")
    found: list[EvaluatedPolicy] = []
    lines: dict[str, str] = {}
    for policy in policies:
        for execution in executions or [policy.resolved_execution]:
            made = at_latencies([policy], [execution], latencies)
            lines |= {each.label: f"{policy.label}, {execution}" for each in made}
            found += made
    return found, lines


def _check_task(task: str, episodes: int, policies: Sequence[EvaluatedPolicy]) -> None:
    found = find_task(task)
    if episodes > found.num_episodes:
        raise InputError(f"episodes: task {task} has {found.num_episodes}, asked for {episodes}")
    if not found.has_expert and any(policy.policy == "expert" for policy in policies):
        raise InputError(f"policies: the scripted expert cannot do task {task}")


def _numbers(name: str, text: str) -> list[float]:
    try:
        values = [float(part) for part in text.split(",") if part]
    except ValueError:
        values = []
    if not values or any(not 0.0 <= value < 60_000.0 for value in values) or len(set(values)) != len(values):
        raise InputError(f"{name}: expected different numbers of milliseconds from 0, like 0,100, got {text!r}")
    return values
