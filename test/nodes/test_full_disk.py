"""Disks that are full: one line, the arm comes to rest, and what was recorded before is there."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest
from live_graph import live_graph
from recording_support import listener, node_process
from sensor_msgs.msg import Image
from test_robot_session import Result, Robot

from stvla_ros.nodes.kit.messages import array_to_image, make_header
from stvla_ros.recordings.run_page import VIDEO
from stvla_ros.safe_files import read_json_file


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A folder with room for 64 kB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)], capture_output=True).returncode:
        pytest.skip("a small disk cannot be mounted here")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder: Path) -> Path:
    file = folder / "fill"
    with pytest.raises(OSError), file.open("wb", buffering=0) as stream:
        while stream.write(bytes(1024)):
            pass
    return file


def test_a_session_that_cannot_write_down_what_it_did_brings_the_arm_to_rest(disk: Path) -> None:
    with live_graph(disk.parent) as graph:
        robot = Robot(graph, disk)
        robot.until_given(1)
        written = read_json_file(disk / "motion.json")
        filled = fill(disk)
        said = f"{disk / 'motion.json'}: cannot be written (No space left on device: {disk} has 0.0 MB free)"
        graph.until(lambda: robot.running[0].is_cancel_requested, f"the cancel; {robot.session.output}")
        graph.until(lambda: f"not given any more: {said}" in robot.session.output, "the word")
        assert "Traceback" not in robot.session.output
        assert read_json_file(disk / "motion.json")["instruction"] == written["instruction"]
        robot.running[0].execute(lambda handle: (handle.canceled(), Result(outcome=Result.STOPPED))[1])
        filled.unlink()
        graph.insist("robot_session/start")
        robot.until_given(2)
        robot.server.destroy()


def test_a_video_that_the_disk_does_not_take_ends_the_recorder_with_one_line(tmp_path: Path) -> None:
    output = tmp_path / "run"
    with listener() as ears:
        topics = ("image", "traced_depth", "overlay")
        publishers = {name: ears.node.create_publisher(Image, name, 10) for name in topics}
        with node_process("episode_recorder", limit_file_size=6_000_000, output=output, fps=30.0) as process:
            ears.spin_until(lambda: all(each.get_subscription_count() for each in publishers.values()))
            ears.spin(0.5)
            random, ended = np.random.default_rng(0), lambda: process._process.poll() is not None
            for number in range(2000):
                header = make_header(1_700_000_000_000_000_000 + number * 33_000_000, "camera")
                noise = array_to_image(random.integers(0, 256, (120, 160, 3), np.uint8), "rgb8", header)
                depth = array_to_image(np.full((224, 224), 1.0, np.float32), "32FC1", header)
                for name, message in zip(topics, (noise, depth, noise)):
                    publishers[name].publish(message)
                ears.spin(0.02)
                if ended():
                    break
            assert process.wait() == 1
    said = [line for line in process.lines if "cannot be written" in line]
    assert len(said) == 1 and f"video {output / VIDEO}: cannot be written (File too large)" in said[0]
    assert "Traceback" not in process.output
    with av.open(str(output / VIDEO)) as video:
        assert next(video.decode(video=0)).height > 100
