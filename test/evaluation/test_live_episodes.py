"""Episodes of the live graph in sequence: each gets the commands that it gets directly, whatever ran before it."""

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import witness
from rclpy.qos import DurabilityPolicy, QoSProfile

from stvla_ros.acting.episode import Rules, load_evaluated_policy, make_control, run_episode
from stvla_ros.acting.policy_texts import parse_policy
from stvla_ros.acting.results import EpisodeKey
from stvla_ros.acting.setup import EvaluatedPolicy
from stvla_ros.control.actions import EndEffectorAction
from stvla_ros.evaluation.live import sim_arguments
from stvla_ros.graph.assemble import sim_graph
from stvla_ros.policy.inputs import InputsConfig
from stvla_ros.policy.observer import Observer
from stvla_ros.sim.environment import Environment, StepResult
from stvla_ros.sim.tasks import make_environment

sys.path.append(str(Path(__file__).parents[1] / "nodes"))
from live_graph import live_graph

STEPS = 8
# The first observation may come before everybody has found everybody, and is sent again then. On a busy machine an
# inference takes its time, and what is sent again meanwhile is one more observation.
RESEND_S, GIVE_UP_S = 10.0, 600.0


def direct(
    environment: Environment, task: str, policy: EvaluatedPolicy, episodes: Sequence[int], max_steps: int
) -> dict[int, np.ndarray]:
    """By episode, (steps, 7): what is executed when these run in this order, all with one policy and one perception."""
    executed: list[EndEffectorAction] = []
    step = environment.step

    def noting(action: EndEffectorAction) -> StepResult:
        executed.append(action)
        return step(action)

    environment.step = noting
    loaded, observer = load_evaluated_policy(policy, environment.info.robot, seed=0), Observer(policy.inputs)
    found = {}
    for episode in episodes:
        executed.clear()
        key = EpisodeKey(task, policy.label, 0, episode)
        control = make_control(policy, loaded, environment)
        run_episode(environment, key, observer, control, Rules(max_steps=max_steps))
        found[episode] = np.array([[*each.translation, *each.rotation, each.gripper] for each in executed])
    return found


def live(
    folder: Path,
    policy: EvaluatedPolicy,
    task: str,
    episodes: int,
    count: int,
    fused: bool,
    max_steps: int = 0,
    timeout_s: float = 300.0,
) -> dict[int, np.ndarray]:
    """By episode, (commands, 7): all that the graph of `stvla sim` publishes in the second to the last of ``count``
    episodes in sequence. In the first one, not everybody may have found everybody yet.

    :param episodes: how many the bridge is told to run; 0 for no end.
    """
    from stvla_ros.msg import EndEffectorCommand, EpisodeState
    from stvla_ros.nodes.kit.messages import stamp_ns

    arguments = replace(sim_arguments(policy, task, 0, episodes, max_steps, video=False), fused=fused)
    nodes = [node for node in sim_graph(arguments, folder / "run").nodes if node.executable != "episode_recorder"]
    with live_graph(folder) as graph:
        commands = graph.listen(EndEffectorCommand, "command")
        latched = QoSProfile(depth=1000, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        states = graph.listen(EpisodeState, "episode_state", qos=latched)
        for node in nodes:
            parameters = {name: dict(values) for name, values in node.parameters.items()}
            if node.executable == "sim_bridge":
                parameters["sim_bridge"] |= {"resend_after": RESEND_S, "give_up_after": GIVE_UP_S}
            graph.start(node.executable, **parameters)
        over = (EpisodeState.SUCCEEDED, EpisodeState.FAILED)
        ended = lambda: any(state.phase in over and state.index == count - 1 for state in states)  # noqa: E731
        seen = lambda: f"the last episode ends; the states end with {states[-3:]}, {len(commands)} commands came"  # noqa: E731
        graph.until(ended, seen, timeout_s)
        told = {stamp_ns(state.header): state for state in states}
        found: dict[int, list[list[float]]] = {}
        for command in commands:
            state = told.get(stamp_ns(command.header))
            if state is not None and not 0 < state.index < count:
                continue
            vectors = [getattr(part, axis) for part in (command.translation, command.rotation) for axis in "xyz"]
            # A command for an observation that never was is a fault of its own.
            episode = -1 if state is None else state.episode_id
            found.setdefault(episode, []).append([*vectors, command.gripper])
    return {episode: np.array(rows) for episode, rows in found.items()}


def assert_equal(expected: dict[int, np.ndarray], found: dict[int, np.ndarray]) -> None:
    assert expected.keys() == found.keys()
    for episode, actions in expected.items():
        assert actions.shape == found[episode].shape, f"episode {episode}"
        different = np.flatnonzero((actions != found[episode]).any(axis=1))
        assert not len(different), f"episode {episode}: other commands from step {different[0]} on"


@pytest.mark.parametrize(
    ("fused", "traces"),
    [
        (False, "rgb"),
        (True, "depth"),
        pytest.param(False, "depth", marks=pytest.mark.slow),
        pytest.param(True, "rgb", marks=pytest.mark.slow),
    ],
    ids=["separate-rgb", "fused-depth", "separate-depth", "fused-rgb"],
)
def test_no_episode_depends_on_those_before_it(fused: bool, traces: str, installed: Any, tmp_path: Path) -> None:
    with installed(**witness.package()):
        inputs = InputsConfig(traces=traces, buffer=7)
        policy = EvaluatedPolicy("witness", "witness", inputs=inputs, execution="ensemble")
        backwards = range(witness.EPISODES - 1, -1, -1)
        expected = direct(make_environment(witness.TASK), witness.TASK, policy, backwards, STEPS)
        assert len({actions.tobytes() for actions in expected.values()}) == witness.EPISODES
        # Without an end: after the last episode the first comes again, which so has others before it too.
        found = live(tmp_path, policy, witness.TASK, 0, witness.EPISODES + 1, fused, STEPS)
    assert_equal(expected, found)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("task", "fused"),
    [
        ("panda_pick_cube", True),
        ("stack_cube", False),
        ("stack_cube", True),
        ("carrot_on_plate", False),
        ("spoon_on_towel", True),
        ("eggplant_in_basket", False),
    ],
)
def test_the_policy_that_comes_along_gets_the_direct_evaluations_commands_in_six_episodes(
    task: str, fused: bool, tmp_path: Path
) -> None:
    policy = parse_policy("stvla?threads=1")
    environment = make_environment(task)
    try:
        # As an evaluation does it, and not beside the graph: the order is another one.
        expected = direct(environment, task, policy, range(6, 0, -1), 0)
    finally:
        environment.close()
    assert_equal(expected, live(tmp_path, policy, task, 7, 7, fused, timeout_s=3600.0))
