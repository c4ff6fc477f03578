"""The lateness of setpoints in a real driver's process beside two busy loops: ``widowx_driver`` with a stand-in of its
arm, at rest and while it executes commands, with the priorities of ``bench.ticks``.

The driver itself reports the lateness on ``/diagnostics``, over its last 1000 setpoints, which all belong to one phase.
Joint states may be as late as a robot's file allows. If the driver stops nevertheless, there are no figures. Everything
is in a namespace of its own, so that no real arm can receive it.
"""

import os
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path
from typing import Any

import numpy as np

from bench.ros_context import ros_context
from bench.ticks import WAYS, busy_loops
from stvla_ros.control.actions import EndEffectorAction
from stvla_ros.control.command_identity import CommandIdentity
from stvla_ros.nodes.executables import module_of
from stvla_ros.robots.embodiments import find_embodiment
from tools.robot_files import write_robot

ROBOT = find_embodiment("widowx")
NAMESPACE = f"/bench_{os.getpid()}"
# Number of setpoints in the driver's figures.
SETPOINTS = 1000
STEP_M = 0.015
# Number of commands in one direction before they lead back.
THERE = 4
TIMEOUT_S = 180.0
# The largest joint_state_timeout that a robot's file may have, seconds.
PATIENCE_S = 1.0


class Bench:
    """Sends commands to the driver, and records its reports."""

    def __init__(self) -> None:
        import rclpy
        from diagnostic_msgs.msg import DiagnosticArray
        from sensor_msgs.msg import JointState

        from stvla_ros.msg import CommandVerdict, DriverState, EndEffectorCommand
        from stvla_ros.nodes.kit.base import RELIABLE_QOS, STATE_QOS

        self.figures: dict[str, str] = {}
        self.figures_at, self.phase = 0.0, DriverState.WAITING
        self.detail, self.setpoints = "", 0
        self.verdicts: list[CommandVerdict] = []
        self.goal = CommandIdentity(ROBOT.name)
        self.node = node = rclpy.create_node("bench", namespace=NAMESPACE)
        self._commands = node.create_publisher(EndEffectorCommand, "command", RELIABLE_QOS)
        node.create_subscription(CommandVerdict, "command_verdict", self.verdicts.append, RELIABLE_QOS)
        node.create_subscription(JointState, "setpoint", self._on_setpoint, RELIABLE_QOS)
        node.create_subscription(DriverState, "driver_state", self._on_state, STATE_QOS)
        node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, RELIABLE_QOS)

    def _on_state(self, state: Any) -> None:
        self.phase, self.detail = state.phase, state.detail

    def _on_setpoint(self, setpoint: Any) -> None:
        self.setpoints += 1

    def _on_diagnostics(self, array: Any) -> None:
        for status in array.status:
            if status.name == f"{NAMESPACE}/widowx_driver":
                self.figures, self.figures_at = {each.key: each.value for each in status.values}, time.monotonic()

    def begin_goal(self) -> None:
        self.goal = CommandIdentity(ROBOT.name, uuid.uuid4().bytes, self.node.get_clock().now().nanoseconds)

    def command(self, number: int) -> None:
        """Send a command: there, and later back."""
        from stvla_ros.nodes.kit.messages import action_to_command, make_header

        way = STEP_M * (-1) ** (number // THERE)
        action = EndEffectorAction(np.array([0.0, way, 0.0]), np.zeros(3), 1.0)
        header = make_header(self.node.get_clock().now().nanoseconds, ROBOT.base_frame)
        self._commands.publish(action_to_command(action, header, self.goal))

    def spin(self, seconds: float) -> None:
        import rclpy

        ends = time.monotonic() + seconds
        while (left := ends - time.monotonic()) > 0.0:
            rclpy.spin_once(self.node, timeout_sec=left)

    def figures_after(self, now: float) -> dict[str, str]:
        """The first figures that were reported later."""
        ends = time.monotonic() + TIMEOUT_S
        while self.figures_at <= now and time.monotonic() < ends:
            self.spin(0.1)
        return self.figures


def start(executable: str, folder: str, nice: int, parameters: dict[str, Any]) -> subprocess.Popen:
    """A node in a process of its own.

    :param folder: folder in which the driver keeps its stops.
    :raises OSError: if the machine does not allow this ``nice``.
    """
    given = [word for name, value in parameters.items() for word in ("-p", f"{name}:={value}")]
    command = [sys.executable, "-m", module_of(executable), "--ros-args", "-r", f"__ns:={NAMESPACE}", *given]
    with Path(folder, f"{executable}.log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, "XDG_STATE_HOME": folder})
    try:
        # Set before it starts its threads, which inherit it.
        os.setpriority(os.PRIO_PROCESS, process.pid, nice)
    except OSError:
        process.kill()
        process.wait()
        raise
    return process


def measure(what: str, nice: int, priority: int, busy: int) -> list[dict[str, Any]]:
    """A row for the arm at rest, and one for the arm in motion."""
    from stvla_ros.msg import DriverState

    bench, processes = Bench(), []
    with tempfile.TemporaryDirectory() as folder:
        try:
            # Late setpoints are counted; they must not end the motion.
            robot = str(write_robot(Path(folder, f"{ROBOT.name}.yaml"), limits={"joint_state_timeout": PATIENCE_S}))
            driver = {"robot": robot, "late_ticks": 0, "realtime_priority": priority}
            processes.append(start("fake_xs_arm", folder, 0, {"robot": robot, "start": "home"}))
            processes.append(start("widowx_driver", folder, nice, driver))
            ends = time.monotonic() + TIMEOUT_S
            while bench.phase != DriverState.READY and processes[1].poll() is None and time.monotonic() < ends:
                bench.spin(0.1)
            if bench.phase != DriverState.READY:
                said = Path(folder, "widowx_driver.log").read_text().strip().splitlines()
                return [{"missing": f"{what}: {said[-1] if said else 'the driver is not ready'}"}]
            with busy_loops(busy):
                return [phase(bench, what, moves) for moves in (False, True)]
        except OSError as error:
            return [{"missing": f"{what}: {error}"}]
        finally:
            for process in processes:
                process.terminate()
            for process in processes:
                process.wait(TIMEOUT_S)
            bench.node.destroy_node()


def phase(bench: Bench, what: str, moves: bool) -> dict[str, Any]:
    """One phase, at rest or in motion, as long as the driver's figures reach back."""
    from stvla_ros.msg import DriverState

    late_before = int(bench.figures_after(time.monotonic())["late_ticks"])
    bench.begin_goal()
    bench.verdicts.clear()
    sent, bench.setpoints = 0, 0
    ends = time.monotonic() + 10.0 * SETPOINTS / ROBOT.driver.tick_hz
    while bench.setpoints < SETPOINTS and time.monotonic() < ends and bench.phase != DriverState.HELD:
        if moves:
            bench.command(sent)
            sent += 1
        bench.spin(1.0 / ROBOT.control_hz)
    setpoints = bench.setpoints
    figures = bench.figures_after(time.monotonic())
    what = f"{what}, {'in motion' if moves else 'at rest'}"
    if setpoints < SETPOINTS:
        return {"missing": f"{what}: {setpoints} setpoints left, expected {SETPOINTS}; {bench.detail or 'too few'}"}
    return {
        "what": what,
        "late_p99_ms": float(figures["tick_lateness_p99_ms"]),
        "late_worst_ms": float(figures["tick_lateness_worst_ms"]),
        "over_2_periods": int(figures["late_ticks"]) - late_before,
        "ticks": setpoints,
        "executed": f"{sum(verdict.executed for verdict in bench.verdicts)}/{sent}" if moves else "",
    }


def rows() -> list[dict[str, Any]]:
    """Two rows for each way of running."""
    with ros_context():
        return [row for what, busy, nice, priority in WAYS for row in measure(what, nice, priority, busy)]


if __name__ == "__main__":
    for row in rows():
        print(row)
