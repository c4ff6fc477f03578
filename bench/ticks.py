"""The lateness of setpoints beside two busy loops: the WidowX' gate in a ticker's thread, while commands are planned in
another thread, without ROS. Measured with the usual priority, a lower `nice` of the whole process, and a realtime
priority of the ticker's thread.

``first_try``: commands whose plan was ready within one tick's lead; the driver plans the others once more, with a
longer lead.
"""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np

from stvla_ros.control.actions import EndEffectorAction
from stvla_ros.control.safety.gate import SafetyGate
from stvla_ros.control.safety.requests import Observed, TooLate
from stvla_ros.nodes.kit.threads import Ticker
from stvla_ros.robots.embodiments import find_embodiment
from stvla_ros.robots.urdf_arm import UrdfArm

SECONDS = 10.0
BUSY_LOOPS = 2
REALTIME_PRIORITY = 5
# Name of the row, number of busy loops, `nice` of the process, and realtime priority of the ticker's thread.
WAYS = (
    ("quiet", 0, 0, 0),
    ("two busy loops", BUSY_LOOPS, 0, 0),
    ("two busy loops, nice -10", BUSY_LOOPS, -10, 0),
    (f"two busy loops, realtime_priority {REALTIME_PRIORITY}", BUSY_LOOPS, 0, REALTIME_PRIORITY),
)


@contextmanager
def busy_loops(count: int) -> Iterator[None]:
    """Processes that do nothing, as fast as they can."""
    loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


def measure(priority: int) -> dict[str, Any]:
    """Lateness of each tick in this process, and durations of the plans, milliseconds."""
    robot = find_embodiment("widowx")
    driver, lock = robot.driver, threading.Lock()
    arm = UrdfArm(driver.arm.urdf, driver.arm.joints, driver.arm.tool_frame)
    gate = SafetyGate(arm, driver.limits, 1.0 / driver.tick_hz, 1.0 / robot.control_hz)
    gate.start(np.array(driver.home), 1.0, time.monotonic_ns())
    left, plans, executed = [], [], 0

    def tick() -> None:
        with lock:
            gate.tick()
        left.append(time.monotonic())

    ticker = Ticker(1.0 / driver.tick_hz, tick, print, priority)
    ends, number = time.monotonic() + SECONDS, 0
    while time.monotonic() < ends:
        number += 1
        action = EndEffectorAction(np.array([0.0, 0.02 * (-1) ** (number // 4), 0.0]), np.zeros(3), 1.0)
        now = time.monotonic_ns()
        with lock:
            request = gate.prepare(action, Observed(now, now), now, 1)
        began = time.monotonic()
        planned = gate.plan(request)
        plans.append(time.monotonic() - began)
        with suppress(TooLate), lock:
            executed += gate.accept(planned, time.monotonic_ns()).executed
        time.sleep(1.0 / robot.control_hz)
    ticker.stop()
    late = 1e3 * np.maximum(np.diff(left) - 1.0 / driver.tick_hz, 0.0)
    over = int((late > 2e3 / driver.tick_hz).sum())
    return {
        "late_p50_ms": float(np.median(late)),
        "late_p99_ms": float(np.quantile(late, 0.99)),
        "late_worst_ms": float(late.max()),
        "over_2_periods": over,
        "ticks": len(left),
        "plan_p50_ms": 1e3 * float(np.median(plans)),
        "first_try": f"{executed}/{number}",
    }


def rows() -> list[dict[str, Any]]:
    """One row for each setting."""
    result: list[dict[str, Any]] = []
    for what, busy, nice, priority in WAYS:
        with busy_loops(busy):
            command = [sys.executable, "-m", "bench.ticks", str(nice), str(priority)]
            made = subprocess.run(command, capture_output=True, text=True, timeout=120)
        if made.returncode:
            result.append({"missing": f"{what}: {made.stderr.strip().splitlines()[-1]}"})
        else:
            result.append({"what": what, **json.loads(made.stdout)})
    return result


if __name__ == "__main__":
    os.nice(int(sys.argv[1]))
    print(json.dumps(measure(int(sys.argv[2]))))
