"""The whole robot graph in processes of its own, with a camera and a stand-in arm, and measures of what it does."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from camera_frames import scene
from joint_robot import write_joint_robot
from live_graph import PATIENCE_S, LiveGraph, live_graph
from node_process import NodeProcess
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import JointState
from servo_robot import write_servo_robot

from stvla_ros.control.safety.rules import MotionRules
from stvla_ros.msg import CommandVerdict, DriverState
from stvla_ros.nodes.kit.messages import ns_to_time
from stvla_ros.robots.embodiments import find_embodiment
from stvla_ros.robots.urdf_arm import UrdfArm

ROBOT = find_embodiment("widowx")
PERIOD_S = 1.0 / ROBOT.control_hz
CAMERA_HZ = 10.0
# A joint that moves by less between two joint states rests.
STILL = 1e-6


@dataclass(frozen=True)
class Arm:
    """An arm of the WidowX' geometry, and what drives it.

    :param driver: executable of the driver.
    :param stand_in: executable of the arm's stand-in.
    :param said: topic on which the stand-in tells its joints.
    :param robot_in: function that returns the robot's name, or writes its file into a folder, with limits of its own.
    """

    driver: str
    stand_in: str
    said: str
    robot_in: Callable[..., str]


ARMS = {
    "widowx": Arm("widowx_driver", "fake_xs_arm", "wx250s/joint_states", lambda folder, **limits: "widowx"),
    "ros2_control": Arm(
        "joint_position_driver",
        "fake_controllers",
        "joint_states",
        lambda folder, **limits: str(write_joint_robot(folder, **limits)),
    ),
    "moveit_servo": Arm(
        "moveit_servo_driver",
        "fake_servo",
        "joint_states",
        lambda folder, **limits: str(write_servo_robot(folder, **limits)),
    ),
}
DRIVER, STAND_IN = "driver", "stand_in"
"""Roles that each arm's own executables play."""
# The random policy's ways are all over the workspace: there is always motion that a fault must end.
NODES: dict[str, dict[str, Any]] = {
    "tracker": {},
    "depth": {},
    "compositor": {},
    "vla_server": {
        "policy": "random",
        "control_hz": ROBOT.control_hz,
        "base_frame": ROBOT.base_frame,
        "execution": "receding",
        "frozen_picture_timeout": 1.0,
        "stall_timeout": 5.0,
    },
    STAND_IN: {"start": "home"},
    DRIVER: {},
}


class Camera(threading.Thread):
    """Publishes frames of a moving scene until it is closed. :attr:`fault` stands between it and the topics."""

    def __init__(self, rig: "RobotRig") -> None:
        super().__init__(daemon=True)
        self._rig = rig
        self._pictures, self._depth = scene(40)
        self._random = np.random.default_rng(0)
        self._stopping = threading.Event()
        self.fault: Callable[[int, np.ndarray, np.ndarray], list[tuple[int, np.ndarray, np.ndarray]]] | None = None
        self.start()

    def run(self) -> None:
        number = 0
        while not self._stopping.wait(1.0 / CAMERA_HZ):
            number += 1
            # There and back, with a sensor's noise.
            picture = self._pictures[abs(number % 78 - 39)].copy()
            picture[::4, ::4] ^= self._random.integers(0, 4, picture[::4, ::4].shape, dtype=np.uint8)
            frame = self._rig.now_ns(), picture, self._depth
            for each in [frame] if self.fault is None else self.fault(*frame):
                self._rig.graph.frame(*each)

    def close(self) -> None:
        self._stopping.set()
        self.join()


RESET, INSTRUCT = "reset", "/robot_session/start"
# What the arm says goes through the test's hands before the driver hears it.
HEARD = "heard/joint_states"


@contextmanager
def robot_rig(arm: str, folder: Path, patient: bool = True, **options: Any) -> Iterator["RobotRig"]:
    """:param arm: one of ``ARMS``.
    :param patient: whether the driver waits longer for joint states than the robot's file says.
    """
    with live_graph(folder) as graph:
        if not patient:
            graph.patient.clear()
        rig = RobotRig(graph, folder, ARMS[arm], **options)
        yield rig
        rig.close()


class RobotRig:
    """:param kind: the arm and what drives it.
    :param sim_time: the nodes' time is what :attr:`clock_offset_ns` makes of the machine's.

    :attr:`joint_fault` stands between the arm's joint states and the driver.
    """

    def __init__(self, graph: LiveGraph, folder: Path, kind: Arm, sim_time: bool = False) -> None:
        self.graph, self.folder, self.kind, self._sim_time = graph, folder, kind, sim_time
        self._robot = kind.robot_in(folder, **({"joint_state_timeout": PATIENCE_S} if graph.patient else {}))
        self.name = find_embodiment(self._robot).name
        self.clock_offset_ns = 0
        arm = ROBOT.driver.arm
        self._arm = UrdfArm(arm.urdf, arm.joints, arm.tool_frame)
        self._rules = MotionRules(self._arm, ROBOT.driver.limits, 1.0 / ROBOT.driver.tick_hz)
        # Times and positions in one list: two would get out of step when one is cleared beside the callback.
        self.measured: list[tuple[float, np.ndarray]] = []
        self.fault_at = 0.0
        self.states = graph.listen(DriverState, "driver_state")
        self.verdicts = graph.listen(CommandVerdict, "command_verdict")
        self.setpoints = graph.listen(JointState, "setpoint")
        graph.listen(JointState, kind.said, self._on_joint_states)
        self.joint_fault: Callable[[JointState], list[JointState]] | None = None
        self._clock: threading.Thread | None = None
        self._stopping = threading.Event()
        if sim_time:
            self._clock = threading.Thread(target=self._say_the_time, daemon=True)
            self._clock.start()
        for name in (*NODES, "robot_session"):
            self.start(name)
        self.camera = Camera(self)

    def close(self) -> None:
        self.camera.close()
        self._stopping.set()
        if self._clock is not None:
            self._clock.join()

    def executable(self, role: str) -> str:
        return {DRIVER: self.kind.driver, STAND_IN: self.kind.stand_in}.get(role, role)

    def process(self, role: str) -> NodeProcess:
        return self.graph.processes[self.executable(role)]

    def start(self, role: str) -> None:
        parameters = NODES.get(role, {"output": str(self.folder), "instruction": "move about"})
        if role in (DRIVER, STAND_IN, "vla_server"):
            parameters = {**parameters, "robot": self._robot}
        remappings = {self.kind.said: HEARD} if role == DRIVER else {}
        sim_time = {"use_sim_time": True} if self._sim_time else {}
        self.graph.start(self.executable(role), remappings=remappings, **parameters, **sim_time)

    def now_ns(self) -> int:
        return time.time_ns() + self.clock_offset_ns

    def _say_the_time(self) -> None:
        while not self._stopping.wait(0.01):
            self.graph.publish("/clock", Clock(clock=ns_to_time(self.now_ns())))

    def _on_joint_states(self, message: JointState) -> None:
        by_name = dict(zip(message.name, message.position))
        position = np.array([by_name[name] for name in ROBOT.driver.arm.joints])
        self.measured.append((time.monotonic(), position))
        for each in [message] if self.joint_fault is None else self.joint_fault(message):
            self.graph.publish(HEARD, each)

    # --- what is asked of it ---

    def until_moving(self) -> None:
        """Wait until the policy's commands move the arm."""
        self.verdicts.clear()
        self.graph.until(
            lambda: sum(verdict.executed for verdict in self.verdicts) >= 3 and not self.still_for(0.0),
            lambda: (
                f"motion; the driver's last state: {self.states[-1:]}; "
                f"{[(name, process.output[-300:]) for name, process in self.graph.processes.items()]}"
            ),
            60.0,
        )

    def mend(self) -> None:
        """No fault any more, and no stop that it left."""
        self.camera.fault = self.joint_fault = None
        if self.states and self.states[-1].held_by:
            self.resume()

    def until_stopped(self, cause: str) -> None:
        """Wait until the driver has latched this."""
        self.graph.until(lambda: self.states and cause in self.states[-1].held_by, f"the stop: {cause}")

    def resume(self, *acts: str) -> None:
        """After a stop nothing moves by itself, nor after the reset alone; a person does both, or these acts."""
        for act in acts or (RESET, INSTRUCT):
            service = f"/{self.kind.driver}/reset" if act == RESET else act
            first = len(self.measured)
            self.graph.until(lambda first=first: len(self.measured) >= first + 150, "a while of joint states")
            way = np.ptp(np.stack([position for _, position in self.measured[first:]]), axis=0)
            assert way.max() < STILL, f"it moves before {act} is called"
            self.graph.insist(service)

    def still_for(self, seconds: float) -> bool:
        """Whether the arm has rested so long, and is seen to."""
        if len(self.measured) < 10:
            return False
        since = time.monotonic() - max(seconds, 0.1)
        part = [position for at, position in self.measured[-2000:] if at >= since]
        return len(part) > 3 and bool(np.abs(np.diff(np.stack(part), axis=0)).max() < STILL)

    def strike(self, fault: Callable[[], Any]) -> None:
        """Let the fault happen, and note when."""
        self.fault_at = time.monotonic()
        fault()

    def until_holding(self, timeout_s: float) -> float:
        """Wait until the arm rests for a second. :returns: seconds from the fault to the last motion."""
        self.graph.until(lambda: self.still_for(1.0), "the arm to hold", timeout_s)
        return self.last_motion()

    def last_motion(self) -> float:
        """Seconds from the fault to the last motion since; 0 without any."""
        times, positions = self._since_fault()
        moving = np.flatnonzero(np.abs(np.diff(positions, axis=0)).max(axis=1) >= STILL)
        return float(times[moving[-1] + 1] - self.fault_at) if len(moving) else 0.0

    def largest_motion(self) -> float:
        """Of the tool point since the fault, metres from where it was."""
        _, positions = self._since_fault()
        tools = np.stack([self._arm.tool_pose(position)[:3, 3] for position in positions[::5]])
        return float(np.linalg.norm(tools - tools[0], axis=1).max())

    def _since_fault(self) -> tuple[np.ndarray, np.ndarray]:
        measured = self.measured[:]
        times = np.array([at for at, _ in measured])
        first = max(0, int(np.searchsorted(times, self.fault_at)) - 1)
        return times[first:], np.stack([position for _, position in measured[first:]])

    def check_limits(self, links: bool = True) -> None:
        """All that was measured obeyed the robot's limits, and what the driver asked for its rates.

        :param links: whether the arm's links obeyed theirs, too.
        """
        limits = ROBOT.driver.limits
        names, asked = ROBOT.driver.arm.joints, self.setpoints[:]
        speeds = np.array([[dict(zip(each.name, each.velocity))[name] for name in names] for each in asked])
        assert len(speeds) and np.abs(speeds).max() > 0.0
        assert (np.abs(speeds) <= [1.001 * limits.joints[name].velocity for name in names]).all()
        positions = np.stack([position for _, position in self.measured[:]])
        for number, name in enumerate(ROBOT.driver.arm.joints):
            joint = limits.joints[name]
            lowest, highest = positions[:, number].min(), positions[:, number].max()
            assert lowest >= joint.lower and highest <= joint.upper, f"{name}: {lowest:.3f} to {highest:.3f} of {joint}"
        for position in positions[::5]:
            point = self._arm.tool_pose(position)[:3, 3]
            assert limits.workspace.outside(point) < 1e-3, point
            broken = self._rules.broken(position) if links else []
            assert not broken, broken
