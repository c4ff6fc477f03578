"""Delivery and latency of the live perception graph at 30 Hz, 640x480, with separate nodes and fused.

Expected cost of a frame at 640x480: the image has 0.92 MB and the sensor depth 0.61 MB. With separate nodes the image
goes to four processes and the depth map (1.23 MB as 32FC1) to one, about 6 MB, copied twice by the middleware. This is
some 10 ms of memory traffic and Python objects, in addition to tracker (8 ms) and compositor (2 ms). Fused it is one
image, one depth, and the stages.
"""

import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from bench.ros_context import ros_context
from stvla_ros.nodes.executables import module_of

FRAMES = 300
RATE_HZ = 30.0
NODES = {"separate": ("tracker", "depth", "compositor"), "fused": ("fused",)}


def moving_frames(count: int) -> tuple[np.ndarray, np.ndarray]:
    """A textured 640x480 scene in which a patch moves; (count, 480, 640, 3) uint8 and (480, 640) uint16 millimetres."""
    generator = np.random.default_rng(0)
    low = generator.integers(40, 200, (60, 80, 3), dtype=np.uint8)
    scene = low.repeat(8, 0).repeat(8, 1)
    patch = generator.integers(0, 255, (20, 20, 3), dtype=np.uint8).repeat(6, 0).repeat(6, 1)
    frames = np.repeat(scene[None], count, 0)
    for index in range(count):
        x, y = (int(260 + 180 * np.cos(index / 15)), int(180 + 120 * np.sin(index / 15)))
        frames[index, y : y + 120, x : x + 120] = patch
    return frames, np.full((480, 640), 900, np.uint16)


def measure(kind: str, frames: int = FRAMES) -> dict[str, Any]:
    """Play frames through the real nodes and count what comes back. Latency is from the stamp to the arrival here."""
    import rclpy
    from rclpy.executors import SingleThreadedExecutor
    from sensor_msgs.msg import CameraInfo, Image

    from stvla_ros.nodes.kit.base import RELIABLE_QOS
    from stvla_ros.nodes.kit.messages import array_to_image, make_camera_info, make_header, stamp_ns

    pictures, depth = moving_frames(30)
    parameters: dict[str, Any] = {f"/{name}": {"ros__parameters": {}} for name in NODES[kind]}
    file = Path(tempfile.mkdtemp()) / "parameters.yaml"
    file.write_text(yaml.safe_dump(parameters))
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", module_of(name), "--ros-args", "--params-file", str(file)],
            stderr=subprocess.DEVNULL,
        )
        for name in NODES[kind]
    ]
    node = rclpy.create_node("bench")
    latencies: list[float] = []

    def arrived(message: Image) -> None:
        latencies.append((node.get_clock().now().nanoseconds - stamp_ns(message.header)) * 1e-6)

    node.create_subscription(Image, "traced_depth", arrived, RELIABLE_QOS)
    image_topic = node.create_publisher(Image, "image", RELIABLE_QOS)
    depth_topic = node.create_publisher(Image, "sensor_depth", RELIABLE_QOS)
    info_topic = node.create_publisher(CameraInfo, "camera_info", RELIABLE_QOS)
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    spinner = threading.Thread(target=executor.spin, daemon=True)
    spinner.start()
    intrinsics = np.array([[623.588, 0, 319.501], [0, 623.588, 239.545], [0, 0, 1]])

    def send(index: int) -> None:
        header = make_header(node.get_clock().now().nanoseconds, "camera")
        info_topic.publish(make_camera_info(intrinsics, 640, 480, header))
        depth_topic.publish(array_to_image(depth, "16UC1", header))
        image_topic.publish(array_to_image(pictures[index % len(pictures)], "rgb8", header))

    try:
        # Until frames come through, the graph is still being discovered.
        ends = time.monotonic() + 30.0
        while len(latencies) < 10 and time.monotonic() < ends:
            send(0)
            time.sleep(0.1)
        time.sleep(1.0)
        latencies.clear()
        start = time.monotonic()
        for index in range(frames):
            time.sleep(max(0.0, start + index / RATE_HZ - time.monotonic()))
            send(index)
        time.sleep(1.0)
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait(10.0)
        executor.shutdown()
        spinner.join()
        node.destroy_node()
    p50, p99 = np.percentile(latencies, (50, 99)) if latencies else (np.nan, np.nan)
    return {
        "what": f"stamp -> traced depth, {kind}",
        "delivered_percent": round(100.0 * len(latencies) / frames, 1),
        "p50_ms": round(float(p50), 1),
        "p99_ms": round(float(p99), 1),
        "target": "100 %, p99 <= " + ("60 ms" if kind == "separate" else "25 ms"),
    }


def rows() -> list[dict[str, Any]]:
    """One row per deployment."""
    with ros_context():
        return [measure(kind) for kind in NODES]


if __name__ == "__main__":
    for row in rows():
        print(row)
