"""The action server with a checkpoint after SSM-VLA, made new: commands, and the picture that it expects."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from any_message import wire
from live_graph import INTRINSICS
from node_bench import bench
from server_bench import Alarm, Server

from stvla_ros.action import ExecuteInstruction
from stvla_ros.nodes.kit.messages import (
    array_to_image,
    image_to_depth,
    image_to_rgb,
    make_camera_info,
    make_header,
    stamp_ns,
)
from stvla_ros.nodes.server import vla_server
from stvla_ros.nodes.server.vla_server import VlaServerNode
from stvla_ros.policy.families import find_family

PERIOD_NS = 200_000_000


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ssm_vla") / "new"
    find_family("ssm_vla").create(folder, "tiny", 0)
    return folder


@contextmanager
def served(folder: Path, monkeypatch: pytest.MonkeyPatch, *parameters: str) -> Iterator[Server]:
    monkeypatch.setattr(vla_server, "Alarm", Alarm)
    given = ("policy:=stvla", f"checkpoint:={folder}", "traces:=auto", "pacing:=lockstep", "device:=cpu", *parameters)
    with bench(VlaServerNode, *given) as made:
        yield Server(made)


def observe(server: Server, depth: np.ndarray) -> int:
    """:returns: the observation's stamp."""
    server.now_ns += PERIOD_NS
    header = make_header(server.now_ns, "camera")
    rgb = np.random.default_rng(1).integers(0, 255, (120, 160, 3), np.uint8)
    for topic, message in (
        ("camera_info", make_camera_info(INTRINSICS, 160, 120, header)),
        ("depth", array_to_image(depth, "32FC1", header)),
        ("image", array_to_image(rgb, "rgb8", header)),
    ):
        server.bench.receive(topic, wire(message))
    return server.now_ns


def test_it_acts_and_shows_what_it_expects_under_the_observations_stamp(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    depth = np.full((120, 160), 0.8, np.float32)
    with served(checkpoint, monkeypatch, "execution:=auto") as server:
        server.goal(ExecuteInstruction.Goal(instruction="stack the green block on the yellow block"))
        stamps = [observe(server, depth) for _ in range(4)]
        assert [stamp_ns(command.header) for command in server.bench.sent("command")] == stamps
        assert len(server.bench.sent("action_chunk")[0].actions) == 8
        pictures, depths = (server.bench.sent(f"predicted_{kind}") for kind in ("image", "depth"))
        assert [stamp_ns(each.header) for each in pictures] == [stamp_ns(each.header) for each in depths] == stamps
        assert pictures[0].encoding == "rgb8" and image_to_rgb(pictures[0], "predicted_image").shape == (32, 32, 3)
        # A new network expects that nothing changes.
        np.testing.assert_allclose(image_to_depth(depths[0], "predicted_depth"), 0.8, atol=1e-3)


def test_depth_without_any_metres_is_answered_with_nothing(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with served(checkpoint, monkeypatch) as server:
        server.goal(ExecuteInstruction.Goal(instruction="stack the green block on the yellow block"))
        observe(server, np.full((120, 160), np.nan, np.float32))
        assert not server.bench.sent("command")


def test_steps_out_of_range_end_the_start(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def start() -> None:
        with served(checkpoint, monkeypatch, "policy_parameters:='{steps: 0}'"):
            pass

    # What the bench says of a node that does not become configured is the node's own line.
    with pytest.raises(AssertionError, match="steps: expected a whole number from 1 to 100, got 0"):
        start()
