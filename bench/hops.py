"""One hop between two processes through rclpy: latency and delivery of best-effort images by size, with our Fast DDS
profile and the stock one.

The cost is the middleware's two copies and rclpy's conversion: 0.15 MB at 224x224, 0.92 MB at 640x480.
"""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

FRAMES = 150
RATE_HZ = 30.0


def send(width: int, height: int) -> None:
    """The sending process: waits for the subscriber, then sends."""
    import rclpy
    from sensor_msgs.msg import Image

    from stvla_ros.nodes.kit.base import RELIABLE_QOS
    from stvla_ros.nodes.kit.messages import array_to_image, make_header

    rclpy.init()
    node = rclpy.create_node("bench_sender")
    publisher = node.create_publisher(Image, "bench_image", RELIABLE_QOS)
    while not publisher.get_subscription_count():
        time.sleep(0.02)
    time.sleep(1.0)
    picture = np.random.default_rng(0).integers(0, 255, (height, width, 3), np.uint8)
    start = time.monotonic()
    for index in range(FRAMES):
        time.sleep(max(0.0, start + index / RATE_HZ - time.monotonic()))
        publisher.publish(array_to_image(picture, "rgb8", make_header(node.get_clock().now().nanoseconds, "camera")))
    time.sleep(1.0)


def receive(width: int, height: int) -> None:
    """The receiving process: prints delivered count, p50 and p99."""
    import rclpy
    from rclpy.executors import SingleThreadedExecutor
    from sensor_msgs.msg import Image

    from stvla_ros.nodes.kit.base import SENSOR_QOS
    from stvla_ros.nodes.kit.messages import stamp_ns

    rclpy.init()
    node = rclpy.create_node("bench_receiver")
    latencies: list[float] = []

    def received(message: Image) -> None:
        latencies.append((node.get_clock().now().nanoseconds - stamp_ns(message.header)) * 1e-6)

    node.create_subscription(Image, "bench_image", received, SENSOR_QOS)
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    quiet_since = started = time.monotonic()
    while time.monotonic() - quiet_since < 2.0 or (not latencies and time.monotonic() - started < 20.0):
        before = len(latencies)
        executor.spin_once(timeout_sec=0.1)
        if len(latencies) > before:
            quiet_since = time.monotonic()
    p50, p99 = np.percentile(latencies, (50, 99)) if latencies else (np.nan, np.nan)
    print(len(latencies), p50, p99)


def measure(width: int, height: int, profile: Path | None) -> tuple[float, float, float]:
    """Delivered percent, p50 and p99 milliseconds."""
    names = ("FASTDDS_DEFAULT_PROFILES_FILE", "FASTRTPS_DEFAULT_PROFILES_FILE")
    environment = {key: value for key, value in os.environ.items() if key not in names}
    if profile is not None:
        environment |= dict.fromkeys(names, str(profile))
    command = [sys.executable, "-m", "bench.hops"]
    receiver = subprocess.Popen(
        [*command, "receive", str(width), str(height)], env=environment, stdout=subprocess.PIPE, text=True
    )
    subprocess.run([*command, "send", str(width), str(height)], env=environment, check=True, timeout=60)
    count, p50, p99 = receiver.communicate(timeout=60)[0].split()
    return 100.0 * int(count) / FRAMES, float(p50), float(p99)


def rows() -> list[dict[str, Any]]:
    """One row per size and profile."""
    from stvla_ros.shared_files import config_directory

    result = []
    for width, height in ((224, 224), (640, 480)):
        for name, profile in (("stock Fast DDS", None), ("our profile", config_directory() / "fastdds.xml")):
            delivered, p50, p99 = measure(width, height, profile)
            row = {
                "what": f"hop {width}x{height} rgb8 best effort, {name}",
                "delivered_percent": delivered,
                "p50_ms": p50,
                "p99_ms": p99,
            }
            if name == "our profile":
                row["target"] = "100 %"
            result.append(row)
    return result


if __name__ == "__main__":
    if len(sys.argv) == 4:
        {"send": send, "receive": receive}[sys.argv[1]](int(sys.argv[2]), int(sys.argv[3]))
    else:
        for row in rows():
            print(row)
