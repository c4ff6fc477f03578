"""Several graphs on one machine: apart from each other, side by side in one domain, or refused. Real processes."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from live_graph import LiveGraph, live_graph, patient_robot
from std_msgs.msg import Bool

from stvla_ros.child_process import killed_with_parent
from stvla_ros.msg import CommandVerdict, DriverState
from stvla_ros.nodes.kit import others
from stvla_ros.nodes.kit.base import STATE_QOS
from stvla_ros.nodes.kit.endpoints import UNKNOWN_NAME
from stvla_ros.recordings.video_reader import read_video

SIM = ("sim", "--policy", "expert", "--episodes", "1", "--no-video", "--fused")
# What nobody has set who has not thought of it.
UNSET = ("ROS_DOMAIN_ID", "ROS_AUTOMATIC_DISCOVERY_RANGE")
TIMEOUT_S = 600.0


@contextmanager
def stvla(folder: Path, *words: str, environment: Mapping[str, str] = os.environ) -> Iterator[subprocess.Popen]:
    """The command, as a person starts it. Its output goes to the folder's ``output.txt``."""
    folder.mkdir()
    with (folder / "output.txt").open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "stvla_ros.cli", *words, "--output", str(folder)],
            stdout=output,
            stderr=subprocess.STDOUT,
            env=dict(environment),
            preexec_fn=killed_with_parent,
        )
        try:
            yield process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
            process.wait(60.0)


def said(folder: Path) -> str:
    return (folder / "output.txt").read_text()


def newest(folder: Path, name: str) -> Any:
    return json.loads((folder / "latest" / name).read_text())


@pytest.mark.slow
def test_two_simulations_at_once_report_each_its_own_episodes(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name not in UNSET}
    tasks = {"panda_pick_cube": tmp_path / "a", "tap_both": tmp_path / "b"}
    (first, one), (second, other) = tasks.items()
    with (
        stvla(one, *SIM, "--task", first, environment=environment) as a,
        stvla(other, *SIM, "--task", second, environment=environment) as b,
    ):
        assert (a.wait(TIMEOUT_S), b.wait(TIMEOUT_S)) == (0, 0), said(one) + said(other)
    for task, folder in tasks.items():
        report = newest(folder, "summary.json")
        assert (report["task"], [each["success"] for each in report["episodes"]]) == (task, [True])
        assert "more than one action server" not in said(folder)
    domains = {said(folder).partition("in ROS domain ")[2].partition(",")[0] for folder in tasks.values()}
    assert len(domains) == 2 and all(domain.isdecimal() for domain in domains)


def test_a_graph_is_not_started_where_a_node_has_a_name_of_its_own(tmp_path: Path) -> None:
    with live_graph(tmp_path) as graph:
        graph.start("tracker")
        graph.until(lambda: graph.node.count_publishers("/traces"), "the tracker")
        with stvla(tmp_path / "sim", *SIM, "--task", "panda_pick_cube") as process:
            assert process.wait(TIMEOUT_S) == 2
        [line] = said(tmp_path / "sim").splitlines()[-1:]
        assert line.startswith(
            f"error: ROS domain {os.environ['ROS_DOMAIN_ID']}: expected nobody with this graph's names"
        )
        assert "topic /traces is published by /tracker" in line


def test_names_that_a_busy_machine_tells_late_are_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    late, began = others.LOOK_S + 0.5, time.monotonic()
    monkeypatch.setattr(
        others, "_found", lambda *_: ["by /tracker" if time.monotonic() > began + late else f"by {UNKNOWN_NAME}"]
    )
    assert others.find_others((), ["/traces"]) == ["by /tracker"]


def pictures(folder: Path, colour: tuple[int, int, int], count: int = 250) -> str:
    """A recording of one colour, with a little noise. :param colour: RGB. :returns: its folder."""
    folder.mkdir()
    generator = np.random.default_rng(sum(colour))
    for index in range(count):
        picture = np.clip(np.array(colour) + generator.integers(-8, 9, (48, 64, 3)), 0, 255).astype(np.uint8)
        cv2.imwrite(str(folder / f"{index:04d}.png"), picture[..., ::-1])
    return str(folder)


class Robot:
    """What one of two robots says."""

    def __init__(self, graph: LiveGraph, side: str) -> None:
        self.states: list[DriverState] = graph.listen(DriverState, f"/{side}/driver_state", qos=STATE_QOS)
        self.verdicts: list[CommandVerdict] = graph.listen(CommandVerdict, f"/{side}/command_verdict")

    @property
    def executed(self) -> int:
        return sum(each.executed for each in self.verdicts)

    @property
    def stopped(self) -> bool:
        return "estop" in self.states[-1].held_by


@pytest.mark.slow
def test_two_robots_in_one_domain_act_on_their_own_cameras_and_stop_alone_and_together(tmp_path: Path) -> None:
    robot = patient_robot("widowx", tmp_path)
    colours = {"left": (200, 40, 40), "right": (40, 40, 200)}
    words = ("robot", "--robot", robot, "--use-fake-hardware", "--home-first", "--policy", "random", "--fused")
    played = ("--instruction", "wave", "--replay-parameters", "{frame_rate: 5.0}")
    with live_graph(tmp_path) as graph:
        robots = {side: Robot(graph, side) for side in colours}
        left, right = robots.values()
        with (
            stvla(
                tmp_path / "l",
                *words,
                *played,
                "--namespace",
                "left",
                "--replay",
                pictures(tmp_path / "lc", colours["left"]),
            ) as a,
            stvla(
                tmp_path / "r",
                *words,
                *played,
                "--namespace",
                "right",
                "--replay",
                pictures(tmp_path / "rc", colours["right"]),
            ) as b,
        ):

            def press(topic: str) -> None:
                graph.publish(topic, Bool(data=True))

            def both() -> str:
                return said(tmp_path / "l") + said(tmp_path / "r")

            graph.until(lambda: left.executed > 2 and right.executed > 2, both, TIMEOUT_S)
            graph.until(lambda: press("/left/estop") or left.stopped, "the left one stops")
            moved = right.executed
            graph.until(lambda: right.executed > moved + 2, "the right one goes on")
            assert not right.stopped
            graph.until(lambda: press("/estop") or right.stopped, "all stop")
            assert (a.poll(), b.poll()) == (None, None), both()
    for folder, colour in zip((tmp_path / "l", tmp_path / "r"), colours.values(), strict=True):
        assert newest(folder, "motion.json")["commands"]["executed"] > 2
        shown = [frame.rgb for frame in read_video(folder / "latest" / "video.mp4")]
        # The left pane is the camera's.
        seen = shown[-1][:, : shown[-1].shape[1] // 4].reshape(-1, 3).mean(axis=0)
        assert np.argmax(seen) == np.argmax(colour), (folder, seen)
        assert "goal" not in said(folder) or "takes over" not in said(folder)
