"""The robot's computer and the GPU's: how many frames come to an answer over a cable, and how soon, by what is sent.

A camera in one network namespace, in the other a node that answers each complete observation with a command at once, so
that the figures are the network's. Both have our QoS and Fast DDS profile, find each other by ROS_STATIC_PEERS, and one
clock. What was measured is kept (out/two_computers.json), and the next run goes on from there.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from bench.cable import ADDRESSES, Quality, cable, namespace

FRAMES, RATE_HZ = 100, 10.0
QUALITIES = {
    "cable as it is": Quality(),
    "0.1 % lost": Quality(loss=0.001),
    "1 % lost": Quality(loss=0.01),
    "5 ms": Quality(delay_ms=5.0),
    "50 ms": Quality(delay_ms=50.0),
    "100 Mbit/s": Quality(mbit_s=100.0),
}
TRANSPORTS = ("raw", "compressed", "traced")
_KEPT = Path("out/two_computers.json")
_SIZE, _TRACED = (480, 640), (224, 224)
PATIENCE_S = 120.0


def _scene() -> tuple[np.ndarray, np.ndarray]:
    """(480, 640, 3) uint8 RGB and (480, 640) uint16 millimetres, of a camera's noise."""
    draw = np.random.default_rng(0)
    shot = cv2.imread(str(Path(__file__).parents[1] / "docs/images/stack_cube.jpg"))[..., ::-1]
    rgb = cv2.resize(shot, _SIZE[::-1]).astype(float) + draw.normal(0, 3, (*_SIZE, 3))
    depth = np.linspace(600, 1200, _SIZE[0])[:, None] + draw.normal(0, 3, _SIZE)
    return rgb.clip(0, 255).astype(np.uint8), depth.astype(np.uint16)


def messages_of(transport: str, header: Any) -> list[Any]:
    from sensor_msgs.msg import CompressedImage

    from stvla_ros.nodes.kit.messages import array_to_image

    rgb, depth = _scene()
    if transport == "raw":
        return [array_to_image(rgb, "rgb8", header), array_to_image(depth, "16UC1", header)]
    picture = CompressedImage(header=header, format="rgb8; jpeg compressed bgr8")
    picture.data.frombytes(cv2.imencode(".jpg", rgb[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes())
    if transport == "traced":
        metres = cv2.resize(depth, _TRACED[::-1], interpolation=cv2.INTER_NEAREST).astype(np.float32) * 1e-3
        return [picture, array_to_image(metres, "32FC1", header)]
    packed = CompressedImage(header=header, format="16UC1; png compressed")
    packed.data.frombytes(cv2.imencode(".png", depth, [cv2.IMWRITE_PNG_COMPRESSION, 1])[1].tobytes())
    return [picture, packed]


class Camera:
    """The camera on the robot's computer.

    :param node: ROS node that it publishes with.
    :param transport: one of ``TRANSPORTS``.
    """

    def __init__(self, node: Any, transport: str) -> None:
        from std_msgs.msg import Header

        from stvla_ros.nodes.kit.base import RELIABLE_QOS

        self._node, self.messages = node, messages_of(transport, Header())
        self.publishers = [
            node.create_publisher(type(each), f"camera{number}", RELIABLE_QOS)
            for number, each in enumerate(self.messages)
        ]

    def send(self) -> None:
        """A frame, as of now."""
        from stvla_ros.nodes.kit.messages import make_header

        header = make_header(self._node.get_clock().now().nanoseconds, "camera")
        for publisher, message in zip(self.publishers, self.messages, strict=True):
            message.header = header
            publisher.publish(message)


def answer_observations(transport: str, answer: Callable[[Any, int], Any], decode: bool) -> None:
    """The work of the GPU's computer: answers pictures that have their depth, until it is ended.

    :param answer: function that makes the command, or None for no answer, from the header of an observation and the
        number of observations so far.
    :param decode: whether compressed pictures are decoded when they come.
    """
    import rclpy
    from std_msgs.msg import Header

    from stvla_ros.msg import EndEffectorCommand
    from stvla_ros.nodes.kit.base import RELIABLE_QOS, SENSOR_QOS, set_dds_defaults
    from stvla_ros.nodes.kit.messages import stamp_ns

    set_dds_defaults()
    rclpy.init()
    node = rclpy.create_node("gpu")
    commands = node.create_publisher(EndEffectorCommand, "command", RELIABLE_QOS)
    seen: dict[int, set[int]] = {}

    def received(number: int, message: Any) -> None:
        if decode and hasattr(message, "format"):
            cv2.imdecode(np.frombuffer(message.data, np.uint8), cv2.IMREAD_UNCHANGED)
        parts = seen.setdefault(stamp_ns(message.header), set())
        parts.add(number)
        if len(parts) == 2 and (command := answer(message.header, len(seen))) is not None:
            commands.publish(command)

    for number, message in enumerate(messages_of(transport, Header())):
        node.create_subscription(type(message), f"camera{number}", partial(received, number), SENSOR_QOS)
    rclpy.spin(node)


def robot(transport: str) -> None:
    """The robot's computer: sends, and prints what came back as JSON."""
    import rclpy

    from stvla_ros.msg import EndEffectorCommand
    from stvla_ros.nodes.kit.base import RELIABLE_QOS, set_dds_defaults
    from stvla_ros.nodes.kit.messages import stamp_ns

    set_dds_defaults()
    rclpy.init()
    node = rclpy.create_node("robot")
    camera = Camera(node, transport)
    latencies: dict[int, float] = {}

    def received(command: EndEffectorCommand) -> None:
        stamp = stamp_ns(command.header)
        latencies.setdefault(stamp, (node.get_clock().now().nanoseconds - stamp) * 1e-6)

    node.create_subscription(EndEffectorCommand, "command", received, RELIABLE_QOS)
    started = time.monotonic()
    while not all(each.get_subscription_count() for each in camera.publishers) or not node.count_publishers("command"):
        rclpy.spin_once(node, timeout_sec=0.1)
        if time.monotonic() - started > PATIENCE_S:
            sys.exit("the other computer was not found")
    time.sleep(1.0)
    start = time.monotonic()
    for index in range(FRAMES):
        while (wait := start + index / RATE_HZ - time.monotonic()) > 0:
            rclpy.spin_once(node, timeout_sec=wait)
        camera.send()
    ends = time.monotonic() + 3.0
    while time.monotonic() < ends:
        rclpy.spin_once(node, timeout_sec=0.1)
    size = sum(len(each.data) for each in camera.messages)
    delays = sorted(latencies.values()) or [float("nan")]
    print(
        json.dumps(
            {
                "Mbit/s": round(size * 8e-6 * RATE_HZ, 1),
                "answered": f"{len(latencies)} of {FRAMES}",
                "p50, ms": round(float(np.percentile(delays, 50)), 1),
                "p99, ms": round(float(np.percentile(delays, 99)), 1),
            }
        )
    )


def gpu(transport: str) -> None:
    """The GPU's computer: answers each observation."""
    from stvla_ros.msg import EndEffectorCommand

    answer_observations(transport, lambda header, _: EndEffectorCommand(header=header), decode=True)


def begin(place: str, *words: str) -> subprocess.Popen:
    """A process on one of the computers (``python -m …``), which has a shared memory of its own for its processes."""
    memory = f"/dev/shm/{namespace(place)}"
    own = ["unshare", "-m", "sh", "-c", f'mkdir -p {memory} && mount --bind {memory} /dev/shm && exec "$0" "$@"']
    (peer,) = (address for name, address in ADDRESSES.items() if name != place)
    variables = {"ROS_STATIC_PEERS": peer, "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST", "ROS_DOMAIN_ID": "5"}
    command = ["ip", "netns", "exec", namespace(place), *own, sys.executable, "-m", *words]
    return subprocess.Popen(command, env=os.environ | variables, stdout=subprocess.PIPE, text=True)


def measure(transport: str, quality: Quality) -> dict[str, Any]:
    with cable(quality):
        answering, sending = (begin(place, "bench.two_computers", place, transport) for place in ("gpu", "robot"))
        try:
            said = sending.communicate(timeout=PATIENCE_S + 60.0)[0]
        finally:
            for process in (answering, sending):
                process.kill()
                process.wait()
    return json.loads(said.splitlines()[-1])


def rows() -> list[dict[str, Any]]:
    kept = json.loads(_KEPT.read_text()) if _KEPT.exists() else {}
    table = []
    for name, quality in QUALITIES.items():
        for transport in TRANSPORTS:
            key = f"{name}: {transport}"
            if key not in kept:
                load = os.getloadavg()[0]
                try:
                    kept[key] = {**measure(transport, quality), "load": round(load, 1)}
                except OSError as error:
                    return [{"missing": f"two network namespaces: {error}"}]
                _KEPT.parent.mkdir(exist_ok=True)
                _KEPT.write_text(json.dumps(kept, indent=1))
            table.append({"cable": name, "sent": transport, **kept[key]})
    return table


if __name__ == "__main__":
    {"robot": robot, "gpu": gpu}[sys.argv[1]](sys.argv[2])
