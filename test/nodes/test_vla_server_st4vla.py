"""The action server with a checkpoint of ST4VLA, made new: from pictures to commands, on a bench."""

from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pytest
from server_bench import Server, served

from stvla_ros.action import ExecuteInstruction
from stvla_ros.nodes.kit.messages import stamp_ns
from stvla_ros.policy.families import find_family

# What an untrained checkpoint's statistics let an action be at most.
TRANSLATION, ROTATION = 0.02, 0.1


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("st4vla") / "new"
    find_family("st4vla").create(folder, "tiny", 0)
    return folder


def start(folder: Path, *parameters: str) -> AbstractContextManager[Server]:
    given = ("policy:=stvla", f"checkpoint:={folder}", "traces:=none", "pacing:=lockstep", "device:=cpu")
    return served(*given, *parameters)


def goal(server: Server, instruction: str) -> None:
    server.goal(ExecuteInstruction.Goal(instruction=instruction))


def observe(server: Server, seed: int) -> int:
    """:returns: the observation's stamp."""
    server.now_ns += 10**9
    rgb = np.random.default_rng(seed).integers(0, 255, (120, 160, 3), np.uint8)
    return server.observe(rgb, np.full((120, 160), 0.8, np.float32))


def test_pictures_are_answered_with_commands(checkpoint: Path) -> None:
    with start(checkpoint, "execution:=auto") as server:
        goal(server, "stack the green block on the yellow block")
        stamps = [observe(server, seed) for seed in range(3)]
        commands = server.bench.sent("command")
        assert [stamp_ns(command.header) for command in commands] == stamps
        for command in commands:
            moved, turned = command.translation, command.rotation
            assert max(map(abs, (moved.x, moved.y, moved.z))) <= TRANSLATION + 1e-9
            assert np.linalg.norm([turned.x, turned.y, turned.z]) <= 2 * ROTATION
            assert 0.0 <= command.gripper <= 1.0
        assert len(server.bench.sent("action_chunk")[0].actions) == 4


def test_a_goal_with_another_models_token_is_answered_with_nothing(checkpoint: Path) -> None:
    with start(checkpoint) as server:
        goal(server, "stack<|im_end|>")
        observe(server, 1)
        assert not server.bench.sent("command")


def test_steps_that_no_stride_gives_end_the_start(checkpoint: Path) -> None:
    # What the bench says of a node that does not become configured is the node's own line.
    with (
        pytest.raises(AssertionError, match="steps: expected one of 1, 2, 3, .* got 11"),
        start(checkpoint, "policy_parameters:='{steps: 11}'"),
    ):
        pass
