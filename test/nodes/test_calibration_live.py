"""`stvla calibrate` on live topics: a camera and an arm that goes on to the next place when the command has seen it."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import yaml
from live_graph import LiveGraph, live_graph
from sensor_msgs.msg import JointState

from stvla_ros.child_process import killed_with_parent
from stvla_ros.nodes.kit.messages import make_header
from stvla_ros.perception.geometry import parse_pose

sys.path.insert(0, str(Path(__file__).parents[1] / "calibration"))
from recorded_board import ARM, CAMERA, INTRINSICS, Recording

PLACES = 6
STEPS = 8


@contextmanager
def calibrate(folder: Path, *words: str) -> Iterator[subprocess.Popen]:
    """The command. Its output goes to the folder's ``output.txt``."""
    with (folder / "output.txt").open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "stvla_ros.cli", "calibrate", *words, "--output", str(folder / "pose.yaml")],
            stdout=output,
            stderr=subprocess.STDOUT,
            env=os.environ | {"PYTHONUNBUFFERED": "1"},
            preexec_fn=killed_with_parent,
        )
        try:
            yield process
        finally:
            process.kill()
            process.wait()


def said(folder: Path) -> str:
    return (folder / "output.txt").read_text()


def show(graph: LiveGraph, position: np.ndarray, grey: np.ndarray, random: np.random.Generator) -> None:
    """One picture, and the arm's joints in two messages: its shoulder, and its wrist with the fingers."""
    stamp = graph.node.get_clock().now().nanoseconds
    for part in (slice(0, 3), slice(3, 6)):
        message = JointState(header=make_header(stamp, ""))
        message.name, message.position = list(ARM.joints[part]), position[part].tolist()
        graph.publish("wx250s/joint_states", message)
    noisy = np.clip(grey + random.normal(0.0, 3.0, grey.shape), 0, 255).astype(np.uint8)
    graph.frame(stamp, np.repeat(noisy[..., None], 3, axis=2), intrinsics=INTRINSICS)


def test_the_pose_is_found_from_live_topics_place_by_place(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    courses = [*Recording(places=PLACES).courses()]
    with live_graph(tmp_path) as graph:
        words = ("--image-topic", "image", "--camera-info-topic", "camera_info", "--places", str(PLACES))
        with calibrate(tmp_path, *words) as process:
            before, _ = courses[-1]
            for number, (position, grey) in enumerate(courses, start=1):
                for step in range(STEPS):
                    show(graph, before + (position - before) * step / STEPS, grey, random)
                    time.sleep(0.05)
                before = position
                seen = re.compile(r"^place \d+: \d+ corners$", re.MULTILINE)

                def taken(position: np.ndarray = position, grey: np.ndarray = grey, number: int = number) -> bool:
                    show(graph, position, grey, random)
                    time.sleep(0.05)
                    return len(seen.findall(said(tmp_path))) >= number

                graph.until(taken, lambda: said(tmp_path))
            graph.until(lambda: process.poll() is not None, lambda: said(tmp_path))
        assert process.returncode == 0, said(tmp_path)
    found = yaml.safe_load((tmp_path / "pose.yaml").read_text())
    pose = parse_pose("camera_pose", " ".join(map(str, found["camera_pose"])))
    assert np.linalg.norm(pose[:3, 3] - CAMERA[:3, 3]) < 0.004
    assert found["frame"] == "base_link"


def test_topics_that_nobody_publishes_are_one_line(tmp_path: Path) -> None:
    with calibrate(tmp_path, "--image-topic", "no/camera") as process:
        assert process.wait(120.0) == 2
    assert said(tmp_path) == "error: topic /no/camera: expected pictures, nobody publishes it\n"
