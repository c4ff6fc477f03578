"""``~/release_gripper`` of the other robots."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from any_message import wire
from geometry_msgs.msg import PoseStamped
from robot_bench import RobotBench, robot_bench
from sensor_msgs.msg import JointState
from servo_and_pose_robots import tool_pose, write_servo_robot
from widowx_bench import ROBOT, ticks

from stvla_ros.nodes.drivers.driver import DriverNode
from stvla_ros.nodes.drivers.google_robot_driver import GoogleRobotDriverNode
from stvla_ros.nodes.drivers.moveit_servo_driver import MoveitServoDriverNode


@pytest.fixture
def google() -> Iterator[RobotBench]:
    def measure(node: DriverNode, position: np.ndarray) -> PoseStamped:
        return wire(tool_pose(position))

    home, outputs = np.array([0.6, 0.0, 0.8, 0.0, 0.0, 0.0]), ("target_pose", "gripper_command")
    with robot_bench(GoogleRobotDriverNode, "tool_pose", measure, home, outputs, "robot:=google_robot") as made:
        made.begin()
        yield made


def test_a_google_robot_is_told_to_open_in_all_though_nobody_knows_what_was_said_before(google: RobotBench) -> None:
    google.bench.call("~/estop")
    assert google.bench.call("~/release_gripper").success
    assert sum(each.data for each in ticks(google, 40, "gripper_command")) == pytest.approx(1.0, abs=1e-5)
    assert google.bench.sent("target_pose") == []


@pytest.fixture
def servo(tmp_path: Path) -> Iterator[RobotBench]:
    file = write_servo_robot(tmp_path)

    def measure(node: DriverNode, position: np.ndarray) -> JointState:
        return wire(JointState(name=[*ROBOT.driver.arm.joints, "left_finger"], position=[*position.tolist(), 0.03]))

    home, outputs = np.array(ROBOT.driver.home), ("twist", "gripper")
    with robot_bench(MoveitServoDriverNode, "joint_states", measure, home, outputs, f"robot:={file}") as made:
        made.begin()
        yield made


def test_an_arm_behind_moveit_opens_its_gripper_without_a_twist(servo: RobotBench) -> None:
    servo.bench.call("~/estop")
    assert servo.bench.call("~/release_gripper").success
    assert ticks(servo, 40, "gripper")[-1].data == 1.0
    assert servo.bench.sent("twist") == []
