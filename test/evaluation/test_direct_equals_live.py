"""A direct evaluation does what the live graph does: the same commands, step by step, for the same episode."""

import json
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from stvla_ros.acting.episode import Rules, load_evaluated_policy, make_control, run_episode
from stvla_ros.acting.policy_texts import parse_policy
from stvla_ros.acting.results import EpisodeKey
from stvla_ros.acting.setup import EvaluatedPolicy
from stvla_ros.control.actions import EndEffectorAction
from stvla_ros.graph.arguments import SimArguments
from stvla_ros.graph.assemble import sim_graph
from stvla_ros.policy.checkpoints import TRAINING_RECORD
from stvla_ros.policy.inputs import InputsConfig
from stvla_ros.policy.observer import Observer
from stvla_ros.shared_files import default_checkpoint
from stvla_ros.sim.environment import StepResult
from stvla_ros.sim.tasks import make_environment

sys.path.append(str(Path(__file__).parents[1] / "nodes"))
from live_graph import live_graph

TASK, EPISODE = "panda_pick_cube", 3
SIZE = (160, 120)


def _direct(policy: EvaluatedPolicy, max_steps: int) -> tuple[list[EndEffectorAction], bool]:
    environment = make_environment(TASK, image_size=SIZE)
    executed: list[EndEffectorAction] = []
    step = environment.step

    def noting(action: EndEffectorAction) -> StepResult:
        executed.append(action)
        return step(action)

    environment.step = noting
    try:
        loaded = load_evaluated_policy(policy, environment.info.robot, seed=0)
        result = run_episode(
            environment,
            EpisodeKey(TASK, policy.label, 0, EPISODE),
            Observer(policy.inputs),
            make_control(policy, loaded, environment),
            Rules(max_steps=max_steps),
        )
    finally:
        environment.close()
    assert result.steps == len(executed)
    return executed, result.success


def _live(policy: EvaluatedPolicy, max_steps: int, folder: Path) -> tuple[list, bool]:
    inputs = policy.inputs
    perception = {"buffer": inputs.buffer, "variant": inputs.variant, "adaptive": inputs.adaptive}
    server = {
        "policy": policy.policy,
        "checkpoint": policy.checkpoint,
        "policy_parameters": yaml.safe_dump(dict(policy.parameters), default_flow_style=True),
        "traces": inputs.traces,
        "resize": inputs.resize,
        "execution": policy.execution,
        "sticky_gripper": policy.sticky_steps("panda"),
        "base_frame": "panda_link0",
        "control_hz": 5.0,
        "pacing": "lockstep",
        "stall_timeout": 0.0,
    }
    bridge = {
        "task": TASK,
        "episodes": 1,
        "first_episode": EPISODE,
        "max_steps": max_steps,
        "image_width": SIZE[0],
        "image_height": SIZE[1],
        "reset_services": ["perception/reset"],
        "resend_after": 60.0,
    }
    return _run(folder, {"fused": {"perception": perception, "vla_server": server}, "sim_bridge": bridge})


def _run(folder: Path, processes: Mapping[str, Mapping[str, Any]]) -> tuple[list, bool]:
    """
    :param processes: parameters by executable.
    :returns: the commands of the episode, and whether it ended with success.
    """
    from stvla_ros.msg import EndEffectorCommand, EpisodeState

    with live_graph(folder) as graph:
        commands = graph.listen(EndEffectorCommand, "command")
        states = graph.listen(EpisodeState, "episode_state")
        for executable, parameters in processes.items():
            graph.start(executable, **parameters)
        ended = (EpisodeState.SUCCEEDED, EpisodeState.FAILED)
        last = graph.until(lambda: next((s for s in states if s.phase in ended), None), "the episode ends", 120.0)
        return list(commands), last.phase == EpisodeState.SUCCEEDED


def _vector(x: object) -> list[float]:
    return [x.x, x.y, x.z]


def _assert_equal(direct: list[EndEffectorAction], live: list) -> None:
    assert len(direct) == len(live)
    for step, (action, command) in enumerate(zip(direct, live)):
        assert action.translation.tolist() == _vector(command.translation), f"step {step}"
        assert action.rotation.tolist() == _vector(command.rotation), f"step {step}"
        assert action.gripper == command.gripper, f"step {step}"


@pytest.mark.slow
@pytest.mark.parametrize("execution", ["ensemble", "chunk"])
def test_a_network_gets_the_same_commands_direct_and_live(execution: str, tmp_path: Path) -> None:
    from stvla_ros.policy.spatialvla.create import create_checkpoint

    checkpoint = tmp_path / "tiny"
    create_checkpoint(checkpoint, "tiny", 0)
    # Sampled, so that an untrained network says more than one thing.
    sampled = {"temperature": 1.0, "seed": 5, "threads": 1}
    policy = EvaluatedPolicy("tiny", "stvla", str(checkpoint), sampled, InputsConfig(buffer=7), execution)
    direct, success = _direct(policy, 12)
    live, live_success = _live(policy, 12, tmp_path)
    assert len({action.translation.tobytes() for action in direct}) > 6
    _assert_equal(direct, live)
    assert success == live_success


def _trained(folder: Path, **inputs: object) -> Path:
    """The small checkpoint, whose answers depend on all that it is shown, as if trained with other inputs."""
    folder.mkdir()
    for file in default_checkpoint().iterdir():
        (folder / file.name).symlink_to(file)
    record = json.loads((folder / TRAINING_RECORD).read_text()) | {"inputs": inputs}
    (folder / TRAINING_RECORD).unlink()
    (folder / TRAINING_RECORD).write_text(json.dumps(record))
    return folder


# Told by the checkpoint alone: no argument of `stvla sim` names any of it.
RECORDS = {
    "untraced": {"traces": "none", "depth": "constant", "resize": "area"},
    "on-rgb": {"traces": "rgb", "buffer": 7, "adaptive": False},
    "of-the-robot": {"tracker": "kinematic", "buffer": 7},
}


@pytest.mark.parametrize(
    ("record", "fused"),
    [
        ("untraced", True),
        pytest.param("untraced", False, marks=pytest.mark.slow),
        pytest.param("on-rgb", True, marks=pytest.mark.slow),
        pytest.param("of-the-robot", True, marks=pytest.mark.slow),
        pytest.param("of-the-robot", False, marks=pytest.mark.slow),
    ],
)
def test_the_graph_shows_a_policy_what_the_evaluation_shows_it(record: str, fused: bool, tmp_path: Path) -> None:
    steps, checkpoint = 8, _trained(tmp_path / "trained", **RECORDS[record])
    policy = parse_policy(f"{checkpoint}?threads=1")
    direct, success = _direct(policy, steps)
    as_usual, _ = _direct(replace(policy, inputs=InputsConfig()), steps)
    assert _vectors(as_usual) != _vectors(direct), "the record must make a difference"

    arguments = SimArguments(
        checkpoint=str(checkpoint),
        policy_parameters="{threads: 1}",
        task=TASK,
        first_episode=EPISODE,
        episodes=1,
        max_steps=steps,
        video=False,
        fused=fused,
    )
    graph = sim_graph(arguments, tmp_path / "run")
    assert graph.notes == ()
    processes = {
        node.executable: dict(node.parameters) for node in graph.nodes if node.executable != "episode_recorder"
    }
    size = {"image_width": SIZE[0], "image_height": SIZE[1], "resend_after": 60.0}
    processes["sim_bridge"]["sim_bridge"] |= size
    live, live_success = _run(tmp_path, processes)
    _assert_equal(direct, live)
    assert success == live_success


def _vectors(actions: list[EndEffectorAction]) -> list[list[float]]:
    return [[*action.translation.tolist(), *action.rotation.tolist(), action.gripper] for action in actions]


@pytest.mark.slow
def test_the_expert_gets_the_same_commands_and_success_direct_and_live(tmp_path: Path) -> None:
    policy = EvaluatedPolicy("expert", "expert", inputs=InputsConfig(traces="none"))
    direct, success = _direct(policy, 0)
    live, live_success = _live(policy, 0, tmp_path)
    assert success and live_success
    _assert_equal(direct, live)
