"""Episodes of the live graph in sequence: each gets the commands that it gets directly, whatever ran before it."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import witness
from rclpy.qos import DurabilityPolicy, QoSProfile

from stvla_ros.acting.episode import Rules, load_evaluated_policy, make_control, run_episode
from stvla_ros.acting.results import EpisodeKey
from stvla_ros.acting.setup import EvaluatedPolicy
from stvla_ros.control.actions import EndEffectorAction
from stvla_ros.policy.inputs import InputsConfig
from stvla_ros.policy.observer import Observer
from stvla_ros.policy.registry import NO_PARAMETERS
from stvla_ros.sim.environment import Environment, StepResult
from stvla_ros.sim.tasks import make_environment

sys.path.append(str(Path(__file__).parents[1] / "nodes"))
from live_graph import live_graph

STEPS = 8
RELIABLE = {"sensor_reliability": "reliable"}


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
    bridge: Mapping[str, Any],
    count: int,
    fused: bool,
    server: Mapping[str, Any] = NO_PARAMETERS,
    timeout_s: float = 300.0,
) -> dict[int, np.ndarray]:
    """By episode, (commands, 7): all that the graph publishes in the second to the last of ``count`` episodes in
    sequence. In the first one, not everybody may have found everybody yet.
    """
    from stvla_ros.msg import EndEffectorCommand, EpisodeState
    from stvla_ros.nodes.kit.messages import stamp_ns

    tracking = {"buffer": policy.inputs.buffer, "adaptive": policy.inputs.adaptive, **RELIABLE}
    compositor = {"variant": policy.inputs.variant, **RELIABLE}
    server = {
        "policy": policy.policy,
        "traces": policy.inputs.traces,
        "execution": policy.execution,
        "control_hz": 5.0,
        "pacing": "lockstep",
        "stall_timeout": 0.0,
        **RELIABLE,
        **server,
    }
    with live_graph(folder) as graph:
        commands = graph.listen(EndEffectorCommand, "command")
        states: list[EpisodeState] = []
        latched = QoSProfile(depth=1000, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        graph.node.create_subscription(EpisodeState, "episode_state", states.append, latched)
        if fused:
            graph.start("fused", perception={**tracking, **compositor}, vla_server=server)
        else:
            graph.start("tracker", **tracking)
            graph.start("depth", **RELIABLE)
            graph.start("compositor", **compositor)
            graph.start("vla_server", **server)
        reset = "perception/reset" if fused else "tracker/reset"
        graph.start("sim_bridge", **bridge, reset_services=[reset], resend_after=60.0)
        over = (EpisodeState.SUCCEEDED, EpisodeState.FAILED)
        ended = lambda: any(state.phase in over and state.index == count - 1 for state in states)  # noqa: E731
        graph.until(ended, "the last episode ends", timeout_s)
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
        policy = EvaluatedPolicy("witness", "witness", inputs=inputs, execution="ensemble", sticky_gripper=0)
        backwards = range(witness.EPISODES - 1, -1, -1)
        expected = direct(make_environment(witness.TASK), witness.TASK, policy, backwards, STEPS)
        assert len({actions.tobytes() for actions in expected.values()}) == witness.EPISODES
        # Without an end: after the last episode the first comes again, which so has others before it too.
        bridge = {"task": witness.TASK, "episodes": 0, "max_steps": STEPS}
        found = live(tmp_path, policy, bridge, witness.EPISODES + 1, fused)
    assert_equal(expected, found)
