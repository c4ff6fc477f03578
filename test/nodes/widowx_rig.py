"""A WidowX driver and a stand-in of its arm, as the tests of the driver use them."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from command_goals import new_goal
from live_graph import LiveGraph
from node_process import NodeProcess
from sensor_msgs.msg import JointState
from std_msgs.msg import Bool
from std_srvs.srv import Trigger

from stvla_ros.control.actions import EndEffectorAction
from stvla_ros.msg import CommandVerdict, DriverState
from stvla_ros.nodes.kit.messages import action_to_command, make_header, stamp_ns
from stvla_ros.robots.embodiments import find_embodiment

ROBOT = find_embodiment("widowx")
PERIOD_S = 1.0 / ROBOT.control_hz


class Rig:
    """A driver and a fake arm, and all that they say."""

    arm_node, driver_node, states_topic = "fake_xs_arm", "widowx_driver", "wx250s/joint_states"

    def __init__(self, graph: LiveGraph, arm: dict[str, Any] | None = None, **driver: Any) -> None:
        self.graph = graph
        self._arm = {"robot": "widowx", "start": "home", **(arm or {})}
        self._driver = {"robot": "widowx", **driver}
        self.states = graph.listen(DriverState, "driver_state")
        self.verdicts = graph.listen(CommandVerdict, "command_verdict")
        self.measured = graph.listen(JointState, self.states_topic)
        self.setpoints = graph.listen(JointState, "setpoint")
        self.begin_goal()
        self.start_arm()
        self.start_driver()

    def start_arm(self) -> None:
        self.arm: NodeProcess = self.graph.start(self.arm_node, **self._arm)

    def start_driver(self) -> None:
        self.driver: NodeProcess = self.graph.start(self.driver_node, **self._driver)

    def begin_goal(self) -> None:
        """Commands are of another goal from now on: those of one from before a reset, or from before the driver was
        activated, are refused.
        """
        self.goal = new_goal(find_embodiment(self._driver["robot"]).name)

    def until_ready(self) -> None:
        """Wait until nothing holds the arm, and begin a goal."""
        self.until_phase(DriverState.READY)
        self.begin_goal()

    def until_reset(self) -> None:
        """Reset the driver, as soon as it lets itself be reset."""
        self.graph.until(lambda: self.call(f"{self.driver_node}/reset").success, "the reset")

    def go_home(self) -> None:
        """Bring the arm to its home position; nothing holds it there."""
        self.graph.publish("estop", Bool(data=False))
        self.until_reset()
        self.states.clear()
        self.until_ready()
        assert self.call(f"{self.driver_node}/home").success
        self.graph.until(lambda: np.abs(self.joints() - ROBOT.driver.home).max() < 1e-3, "home")
        self.until_ready()
        self.verdicts.clear()

    def until_phase(self, phase: int) -> None:
        self.graph.until(lambda: self.states and self.states[-1].phase == phase, f"phase {phase}; {self.driver.output}")

    def command(self, x: float = 0.0, y: float = 0.0, z: float = 0.0, gripper: float = 1.0, age_s: float = 0.0) -> None:
        """:param age_s: of the observation that it answers."""
        stamp = self.graph.node.get_clock().now().nanoseconds - round(age_s * 1e9)
        action = EndEffectorAction(np.array([x, y, z]), np.zeros(3), gripper)
        self.graph.publish("command", action_to_command(action, make_header(stamp, ROBOT.base_frame), self.goal))

    def move(self, seconds: float, **action: float) -> None:
        """Commands at the control rate."""
        for _ in range(round(seconds / PERIOD_S)):
            self.command(**action)
            time.sleep(PERIOD_S)

    def call(self, service: str, kind: type = Trigger, /, **fields: Any) -> Any:
        return self.graph.call(kind, service, kind.Request(**fields))

    def joints(self, state: JointState | None = None) -> np.ndarray:
        """(6,) as measured."""
        state = state or self.measured[-1]
        return np.array([dict(zip(state.name, state.position))[name] for name in ROBOT.driver.arm.joints])

    @contextmanager
    def moving(self, **action: float) -> Iterator[None]:
        """Commands at the control rate meanwhile; inside, the arm moves."""
        ended = threading.Event()

        def go_on() -> None:
            while not ended.wait(PERIOD_S):
                self.command(**action)

        self.setpoints.clear()
        thread = threading.Thread(target=go_on, daemon=True)
        thread.start()
        try:
            self.graph.until(lambda: any(speed > 0.05 for speed in self.speeds()), "a motion")
            yield
        finally:
            ended.set()
            thread.join()

    def speeds(self, since_ns: int = 0) -> list[float]:
        """The fastest joint's speed of each setpoint, rad/s.

        :param since_ns: only those that the driver gave after this time, by its own clock.
        """
        setpoints = [each for each in self.setpoints if stamp_ns(each.header) > since_ns]
        return [float(np.abs(each.velocity[:6]).max()) for each in setpoints]

    def until_at_rest(self) -> None:
        self.graph.until(self.at_rest, "the arm at rest")

    def at_rest(self, seconds: float = 0.5) -> bool:
        """Whether no joint moves, over so long by the measurements' own stamps."""
        first = len(self.measured)
        since = lambda: self.measured[first:]  # noqa: E731
        span = lambda: since() and stamp_ns(since()[-1].header) - stamp_ns(since()[0].header)  # noqa: E731
        self.graph.until(lambda: span() and span() >= seconds * 1e9, "measurements")
        way = np.stack([self.joints(state) for state in since()])
        return bool(np.abs(way - way[0]).max() < 1e-6)
