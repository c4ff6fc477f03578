"""The cost of receiving pictures in a node: processor time, page faults and memory, with freed memory kept (as in every
node, ``freed_memory.py``) and with the C library's defaults.

The node is ``depth`` with the sensor's depth: it takes two messages a frame, joins them, and publishes one. Runs of
both kinds alternate; figures are medians, with the smallest and the largest in brackets.
"""

import os
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import psutil

from bench.ros_context import ros_context
from stvla_ros.nodes.executables import module_of

RUNS, SECONDS = 5, 6.0
CASES = ((640, 480, "16UC1", 30.0), (1280, 720, "32FC1", 5.0))
# Sets an option of glibc to its default, so that the node leaves glibc's settings alone.
AS_THE_C_LIBRARY = {"GLIBC_TUNABLES": "glibc.malloc.perturb=0"}
WAYS = {"kept": {}, "given back": AS_THE_C_LIBRARY}


@dataclass(frozen=True)
class Cost:
    """Cost of one frame. :param cpu_ms: time of the whole process. :param page_faults: number of those without reading
    from a disk.
    """

    cpu_ms: float
    page_faults: float
    rss_mb: float
    delivered_percent: float


def measure(case: tuple[int, int, str, float], environment: dict[str, str]) -> Cost:
    """The cost of one node's process, which gets its frames from this one."""
    import rclpy
    from rclpy.executors import SingleThreadedExecutor
    from sensor_msgs.msg import Image

    from stvla_ros.nodes.kit.base import RELIABLE_QOS
    from stvla_ros.nodes.kit.messages import array_to_image, make_header

    width, height, encoding, rate = case
    rgb = np.random.default_rng(0).integers(0, 255, (height, width, 3), np.uint8)
    depth = np.full((height, width), *((900, np.uint16) if encoding == "16UC1" else (0.9, np.float32)))
    node = rclpy.create_node("bench")
    arrived = 0

    def count(_: bytes) -> None:
        nonlocal arrived
        arrived += 1

    node.create_subscription(Image, "depth", count, RELIABLE_QOS, raw=True)
    image_topic = node.create_publisher(Image, "image", RELIABLE_QOS)
    depth_topic = node.create_publisher(Image, "sensor_depth", RELIABLE_QOS)
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    spinner = threading.Thread(target=executor.spin, daemon=True)
    spinner.start()

    def send() -> None:
        header = make_header(node.get_clock().now().nanoseconds, "camera")
        depth_topic.publish(array_to_image(depth, encoding, header))
        image_topic.publish(array_to_image(rgb, "rgb8", header))

    process = subprocess.Popen(
        [sys.executable, "-m", module_of("depth")], env=os.environ | environment, stderr=subprocess.DEVNULL
    )
    try:
        # Until frames come through, the node starts and is discovered.
        ends = time.monotonic() + 30.0
        while arrived < 10 and time.monotonic() < ends:
            send()
            time.sleep(0.1)
        time.sleep(0.5)
        before, already, frames = _taken(process.pid), arrived, round(SECONDS * rate)
        start = time.monotonic()
        for index in range(frames):
            time.sleep(max(0.0, start + index / rate - time.monotonic()))
            send()
        time.sleep(0.5)
        cpu_s, faults = (after - first for after, first in zip(_taken(process.pid), before))
        rss = psutil.Process(process.pid).memory_info().rss / 1e6
    finally:
        process.terminate()
        process.wait(20.0)
        executor.shutdown()
        spinner.join()
        node.destroy_node()
    return Cost(cpu_s * 1e3 / frames, faults / frames, rss, 100.0 * (arrived - already) / frames)


def _taken(pid: int) -> tuple[float, float]:
    """Seconds of processor time, and number of page faults, since the process began."""
    times = psutil.Process(pid).cpu_times()
    with open(f"/proc/{pid}/stat") as file:
        # proc(5): minflt is the 10th field; the second, in brackets, may hold blanks.
        faults = int(file.read().rpartition(")")[2].split()[7])
    return times.user + times.system, faults


def rows() -> list[dict[str, Any]]:
    """One row for each camera and setting."""
    result = []
    with ros_context():
        for case in CASES:
            costs: dict[str, list[Cost]] = {way: [] for way in WAYS}
            for run in range(RUNS):
                for way in list(WAYS)[:: 1 if run % 2 else -1]:
                    costs[way].append(measure(case, WAYS[way]))
            for way, runs in costs.items():
                width, height, encoding, rate = case
                row = {"what": f"depth, {width}x{height} rgb8 and {encoding}, {rate:g} Hz, freed memory {way}"}
                row |= {name: _spread([getattr(each, name) for each in runs]) for name in Cost.__annotations__}
                result.append(row)
    return result


def _spread(values: list[float]) -> str:
    return f"{np.median(values):.3g} ({min(values):.3g} to {max(values):.3g})"


if __name__ == "__main__":
    for each in rows():
        print(each)
