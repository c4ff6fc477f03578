"""Half an hour of realtime simulation through the live graph: does memory grow, does anything drop, do latencies drift?

``STVLA_SOAK_MINUTES`` sets another length. Memory is fitted by a line over the last three quarters: growth while the
graph warms up is no leak.
"""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from typing import Any

import numpy as np
import psutil

from bench.ros_context import ros_context

MINUTES = float(os.environ.get("STVLA_SOAK_MINUTES", "30"))
SAMPLE_S = 2.0
WARM_UP_SHARE = 0.25
_MODULE = "stvla_ros.nodes."


def rows() -> list[dict[str, Any]]:
    """One row for each process of the graph."""
    command = [sys.executable, "-m", "stvla_ros.cli", "sim", "--pacing", "realtime", "--episodes", "0", "--no-video"]
    with ros_context():
        graph = subprocess.Popen(
            [*command, "--output", tempfile.mkdtemp()], stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT
        )
        try:
            memory, figures = _watch(graph)
        finally:
            graph.send_signal(signal.SIGINT)
            graph.wait(60)
    return [_row(name, samples, figures.get(name, [])) for name, samples in sorted(memory.items())]


def _watch(graph: subprocess.Popen) -> tuple[dict[str, list[tuple[float, float]]], dict[str, list[dict[str, float]]]]:
    """:returns: samples (seconds, megabytes) by node, and the figures of its diagnostics."""
    import rclpy
    from diagnostic_msgs.msg import DiagnosticArray

    from stvla_ros.nodes.kit.base import RELIABLE_QOS

    figures: dict[str, list[dict[str, float]]] = defaultdict(list)

    def take(message: DiagnosticArray) -> None:
        for status in message.status:
            values = {item.key: item.value for item in status.values}
            kept = {key: float(values[key]) for key in ("latency_p50_ms", "latency_p99_ms", "dropped") if key in values}
            figures[status.name.lstrip("/")].append(kept)

    listener = rclpy.create_node("soak")
    listener.create_subscription(DiagnosticArray, "/diagnostics", take, RELIABLE_QOS)
    memory: dict[str, list[tuple[float, float]]] = defaultdict(list)
    began = next_sample = time.monotonic()
    while time.monotonic() - began < 60.0 * MINUTES and graph.poll() is None:
        rclpy.spin_once(listener, timeout_sec=0.1)
        if time.monotonic() < next_sample:
            continue
        next_sample += SAMPLE_S
        for process in psutil.Process(graph.pid).children(recursive=True):
            try:
                module = next((part for part in process.cmdline() if part.startswith(_MODULE)), "")
                if module:
                    megabytes = process.memory_info().rss / 1e6
                    memory[module.rpartition(".")[2]].append((time.monotonic() - began, megabytes))
            except psutil.NoSuchProcess:
                continue
    listener.destroy_node()
    return memory, figures


def _row(name: str, samples: list[tuple[float, float]], figures: list[dict[str, float]]) -> dict[str, Any]:
    seconds, megabytes = np.array(samples).T
    late = seconds >= WARM_UP_SHARE * seconds[-1]
    slope = np.polyfit(seconds[late], megabytes[late], 1)[0] if late.sum() > 2 else 0.0
    quarter = max(1, len(figures) // 4)
    row = {
        "what": f"soak, {name}",
        "minutes": round(float(seconds[-1]) / 60.0, 1),
        "rss_mb_after_warm_up": round(float(megabytes[late][0])),
        "rss_mb_at_the_end": round(float(megabytes[-1])),
        "growth_mb_per_hour": round(float(3600.0 * slope), 1),
        "dropped": int(figures[-1].get("dropped", 0)) if figures else "",
    }
    for key in ("latency_p50_ms", "latency_p99_ms"):
        for when, part in (("second", figures[quarter : 2 * quarter]), ("last", figures[-quarter:])):
            values = [each[key] for each in part if key in each]
            row[f"{key}, {when} quarter"] = round(float(np.median(values)), 1) if values else ""
    return row


if __name__ == "__main__":
    for row in rows():
        print(row)
