"""The action server with a checkpoint after SSM-VLA, made new: commands, and the picture that it expects."""

from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pytest
from server_bench import Server, served

from stvla_ros.action import ExecuteInstruction
from stvla_ros.nodes.kit.messages import image_to_depth, image_to_rgb, stamp_ns
from stvla_ros.policy.families import find_family

PERIOD_NS = 200_000_000


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ssm_vla") / "new"
    find_family("ssm_vla").create(folder, "tiny", 0)
    return folder


def start(folder: Path, *parameters: str) -> AbstractContextManager[Server]:
    given = ("policy:=stvla", f"checkpoint:={folder}", "traces:=auto", "pacing:=lockstep", "device:=cpu")
    return served(*given, *parameters)


def observe(server: Server, depth: np.ndarray) -> int:
    """:returns: the observation's stamp."""
    server.now_ns += PERIOD_NS
    return server.observe(np.random.default_rng(1).integers(0, 255, (120, 160, 3), np.uint8), depth)


def test_it_acts_and_shows_what_it_expects_under_the_observations_stamp(checkpoint: Path) -> None:
    depth = np.full((120, 160), 0.8, np.float32)
    with start(checkpoint, "execution:=auto") as server:
        server.goal(ExecuteInstruction.Goal(instruction="stack the green block on the yellow block"))
        stamps = [observe(server, depth) for _ in range(4)]
        assert [stamp_ns(command.header) for command in server.bench.sent("command")] == stamps
        assert len(server.bench.sent("action_chunk")[0].actions) == 8
        pictures, depths = (server.bench.sent(f"predicted_{kind}") for kind in ("image", "depth"))
        assert [stamp_ns(each.header) for each in pictures] == [stamp_ns(each.header) for each in depths] == stamps
        assert pictures[0].encoding == "rgb8" and image_to_rgb(pictures[0], "predicted_image").shape == (32, 32, 3)
        # A new network expects that nothing changes.
        np.testing.assert_allclose(image_to_depth(depths[0], "predicted_depth"), 0.8, atol=1e-3)


def test_depth_without_any_metres_is_answered_with_nothing(checkpoint: Path) -> None:
    with start(checkpoint) as server:
        server.goal(ExecuteInstruction.Goal(instruction="stack the green block on the yellow block"))
        observe(server, np.full((120, 160), np.nan, np.float32))
        assert not server.bench.sent("command")


def test_steps_out_of_range_end_the_start(checkpoint: Path) -> None:
    # What the bench says of a node that does not become configured is the node's own line.
    with (
        pytest.raises(AssertionError, match="steps: expected a whole number from 1 to 100, got 0"),
        start(checkpoint, "policy_parameters:='{steps: 0}'"),
    ):
        pass
