"""The MoveIt Servo driver corrects its arm's lag: on a bench, whose arm moves by the twists and tells where it was."""

from collections import deque
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from robot_bench import RobotBench, robot_bench
from sensor_msgs.msg import JointState
from servo_robot import SETTINGS, write_servo_robot
from widowx_bench import PERIOD_TICKS, ROBOT, joint_states, sideways

from stvla_ros.nodes.drivers.driver import DriverNode
from stvla_ros.nodes.drivers.moveit_servo_driver import MoveitServoDriverNode
from stvla_ros.nodes.kit.messages import ns_to_time
from stvla_ros.robots.fake_servo_arm import FakeServoArm
from stvla_ros.robots.urdf_arm import UrdfArm

TWISTS = SETTINGS["twist_topic"]
ARM = UrdfArm(ROBOT.driver.arm.urdf, ROBOT.driver.arm.joints, ROBOT.driver.arm.tool_frame)


class Servoed:
    """
    :ivar late_ticks: age of what the arm tells.
    :ivar hangs: whether it tells the same place for ever, as of now.
    :ivar share: of the velocity that it is told, the part that the arm makes.
    """

    def __init__(self, robot: RobotBench) -> None:
        self.robot, self.late_ticks, self.hangs, self.share = robot, 0, False, 1.0
        robot.follows = False
        self._arm = FakeServoArm(ARM, robot.position)
        self._told: deque[tuple[int, np.ndarray]] = deque()

    def measure(self) -> JointState:
        stamp_ns, position = self._told[-1 - min(self.late_ticks, len(self._told) - 1)]
        if self.hangs:
            stamp_ns = self.robot.clock.now_ns()
        return joint_states(position, stamp=ns_to_time(stamp_ns))

    def tick(self, count: int) -> None:
        for _ in range(count):
            place = self._told[-1][1] if self.hangs else self._arm.advance(self.robot.clock.monotonic())
            self._told.append((self.robot.clock.now_ns(), place))
            self.robot.tick(1)
            for twist in (each.twist for each in self.robot.bench.sent(TWISTS)):
                linear, angular = (np.array([each.x, each.y, each.z]) for each in (twist.linear, twist.angular))
                self._arm.command(self.share * linear, self.share * angular, self.robot.clock.monotonic())

    def go_sideways(self, commands: int) -> float:
        """:returns: metres by which the tool was ahead of the setpoint at most."""
        ahead = 0.0
        for _ in range(commands):
            sideways(self.robot)
            for _ in range(PERIOD_TICKS):
                self.tick(1)
                ahead = max(ahead, self.setpoint()[1] - self.tool()[1])
        return ahead

    def tool(self) -> np.ndarray:
        return ARM.tool_pose(self._arm.advance(self.robot.clock.monotonic()))[:3, 3]

    def setpoint(self) -> np.ndarray:
        return ARM.tool_pose(self.robot.segments[-1].positions[-1])[:3, 3]


@pytest.fixture
def servoed(tmp_path: Path) -> Iterator[Servoed]:
    made: list[Servoed] = []

    def measure(node: DriverNode, position: np.ndarray) -> JointState:
        return made[0].measure() if made else joint_states(position)

    file = write_servo_robot(tmp_path, "none")
    home = np.array(ROBOT.driver.home)
    with robot_bench(MoveitServoDriverNode, "joint_states", measure, home, (TWISTS,), f"robot:={file}") as robot:
        robot.begin()
        robot.until_engaged()
        robot.new_goal()
        made.append(Servoed(robot))
        yield made[0]


def test_an_arm_that_tells_late_where_it_was_does_not_run_ahead(servoed: Servoed) -> None:
    servoed.tick(10)
    servoed.late_ticks = 5
    assert servoed.go_sideways(4) < 0.006


def test_an_arm_that_lags_comes_to_the_setpoint(servoed: Servoed) -> None:
    servoed.share = 0.8
    servoed.go_sideways(3)
    servoed.tick(150)
    np.testing.assert_allclose(servoed.tool(), servoed.setpoint(), atol=2e-3)


def test_a_measurement_that_hangs_does_not_drive_the_arm_beyond_the_setpoint(servoed: Servoed) -> None:
    servoed.tick(10)
    servoed.hangs = True
    assert servoed.go_sideways(6) < 0.012
    servoed.tick(2 * PERIOD_TICKS)
    assert servoed.setpoint()[1] - servoed.tool()[1] < 0.012
