"""Node processes, a node that keeps what it receives, and small bags, for the tests of `replay` and `bag_recorder`."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
from probe import shut_down
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.serialization import serialize_message
from sensor_msgs.msg import CameraInfo, Image

from stvla_ros.child_process import killed_with_parent
from stvla_ros.nodes.executables import module_of
from stvla_ros.nodes.kit.messages import array_to_image, make_camera_info, make_header
from stvla_ros.recordings.bag_writer import BagWriter

STAMPS = [1_700_000_000_000_000_007 + round(i * 1e9 / 30) for i in range(12)]
INTRINSICS = np.array([[60.0, 0, 31], [0, 61, 23], [0, 0, 1]])


def rgb_picture(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (48, 64, 3), np.uint8)


def depth_picture(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 5000, (48, 64), np.uint16)


def write_bag(folder: Path, stamps: list[int], camera: bool = True, depth: bool = True) -> Path:
    """An RGB-D recording: picture i and depth i are those of seed i."""
    types = {"/image": "Image", "/camera_info": "CameraInfo", "/sensor_depth": "Image"}
    with BagWriter(folder) as bag:
        for topic, name in types.items():
            bag.add_topic(topic, f"sensor_msgs/msg/{name}")
        for index, stamp in enumerate(stamps):
            header = make_header(stamp, "recorded_camera")
            messages: list[tuple[str, Any]] = [("/image", array_to_image(rgb_picture(index), "rgb8", header))]
            if camera:
                messages.append(("/camera_info", make_camera_info(INTRINSICS, 64, 48, header)))
            if depth:
                messages.append(("/sensor_depth", array_to_image(depth_picture(index), "16UC1", header)))
            for topic, message in messages:
                bag.write(topic, 10**18 + index * 10**7, serialize_message(message))
    return folder


class NodeProcess:
    """One node of this package in a process of its own."""

    def __init__(
        self, name: str, arguments: tuple[str, ...] = (), limit_file_size: int | None = None, **parameters: Any
    ) -> None:
        command = [sys.executable, "-m", module_of(name), "--ros-args", *arguments]
        for key, value in parameters.items():
            command += ["-p", f"{key}:={value}"]
        if limit_file_size is not None:
            command = ["prlimit", f"--fsize={limit_file_size}", *command]
        self._process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            preexec_fn=killed_with_parent,
        )
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        for line in self._process.stdout:
            self.lines.append(line)

    @property
    def output(self) -> str:
        return "".join(self.lines)

    def wait(self, timeout_s: float = 60.0) -> int:
        """:return: the exit code."""
        code = self._process.wait(timeout_s)
        self._reader.join(5.0)
        return code

    def interrupt(self) -> None:
        """As Ctrl-C does."""
        os.killpg(self._process.pid, signal.SIGINT)

    def kill(self) -> None:
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


class Listener:
    """Receives every message of some topics, in a node of the test's process."""

    def __init__(self, **parameters: Any) -> None:
        overrides = [rclpy.parameter.Parameter(name, value=value) for name, value in parameters.items()]
        self.node: Node = rclpy.create_node("listener", parameter_overrides=overrides)
        self.received: dict[str, list[Any]] = {}
        self.arrivals: dict[str, list[float]] = {}
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self.node)

    def listen(self, message_type: type, topic: str, reliable: bool = True) -> list[Any]:
        messages = self.received.setdefault(topic, [])
        arrivals = self.arrivals.setdefault(topic, [])

        def received(message: Any) -> None:
            messages.append(message)
            arrivals.append(time.monotonic())

        reliability = ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT
        self.node.create_subscription(message_type, topic, received, QoSProfile(depth=1000, reliability=reliability))
        return messages

    def spin_until(self, condition: Callable[[], bool], timeout_s: float = 60.0) -> None:
        end = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < end, "the awaited did not happen in time"
            self._executor.spin_once(timeout_sec=0.02)

    def spin(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._executor.spin_once(timeout_sec=0.02)


@contextmanager
def listener(**parameters: Any) -> Iterator[Listener]:
    rclpy.init()
    ears = Listener(**parameters)
    try:
        yield ears
    finally:
        # Left to the garbage collector, its subscriptions would still be there for the next test's nodes.
        ears.node.destroy_node()
        shut_down()


@contextmanager
def node_process(
    name: str, arguments: tuple[str, ...] = (), limit_file_size: int | None = None, **parameters: Any
) -> Iterator[NodeProcess]:
    process = NodeProcess(name, arguments, limit_file_size, **parameters)
    try:
        yield process
    finally:
        process.kill()


def in_one_of(tries: int, holds: Callable[[], bool]) -> bool:
    """Whether it holds in one of so many tries: what is right in time is so when the machine lets it, what is wrong
    never.
    """
    return any(holds() for _ in range(tries))


def play(source: Path, **parameters: Any) -> tuple[int, str, dict[str, list[Any]], dict[str, list[float]]]:
    """Replay a recording to its end.

    :return: exit code, output, and the messages and arrival times (monotonic seconds) by topic.
    """
    with listener() as ears, node_process("replay", source=source, end_delay=0.2, **parameters) as process:
        ears.listen(Image, "image")
        ears.listen(Image, "sensor_depth")
        ears.listen(CameraInfo, "camera_info")
        ended: list[int] = []
        threading.Thread(target=lambda: ended.append(process.wait()), daemon=True).start()
        ears.spin_until(lambda: bool(ended))
        ears.spin(0.2)
        return ended[0], process.output, ears.received, ears.arrivals
