"""Start-up time, resident memory and imports of the nodes that run no network.

Time is from the start of the process to the first message on ``/diagnostics``, less one second: the node is then
configured and active, and the timer's first second has passed.
"""

import signal
import subprocess
import sys
import time
from typing import Any

import psutil

from bench.ros_context import ros_context
from stvla_ros.nodes.executables import module_of

NODES = ("tracker", "depth", "compositor")


def measure(name: str) -> dict[str, Any]:
    """Start one node by itself, with Python's own report of what it imported."""
    import rclpy
    from diagnostic_msgs.msg import DiagnosticArray

    from stvla_ros.nodes.kit.base import DIAGNOSTICS_PERIOD_S, RELIABLE_QOS

    listener = rclpy.create_node("bench")
    seen: list[str] = []

    def received(message: DiagnosticArray) -> None:
        seen.extend(status.name for status in message.status)

    listener.create_subscription(DiagnosticArray, "/diagnostics", received, RELIABLE_QOS)
    started = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-X", "importtime", "-m", module_of(name)], stderr=subprocess.PIPE, text=True
    )
    try:
        while f"/{name}" not in seen and time.monotonic() - started < 30:
            rclpy.spin_once(listener, timeout_sec=0.05)
        up_s = time.monotonic() - started - DIAGNOSTICS_PERIOD_S
        memory = psutil.Process(process.pid).memory_info().rss / 1e6
    finally:
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=20)
        listener.destroy_node()
    imported = {line.rsplit("|", 1)[-1].strip() for line in errors.splitlines() if line.startswith("import time:")}
    return {
        "what": f"node {name}",
        "up_s": round(up_s, 2),
        "rss_mb": round(memory),
        "imports_torch": "torch" in imported,
        "target": "< 2 s, < 200 MB, no torch",
    }


def rows() -> list[dict[str, Any]]:
    """One row per node."""
    with ros_context():
        return [measure(name) for name in NODES]


if __name__ == "__main__":
    for row in rows():
        print(row)
