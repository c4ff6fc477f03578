"""What a driver remembers from before a hold: nothing that moves the arm, and nothing that drops what is held."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from any_message import wire
from geometry_msgs.msg import PoseStamped
from robot_bench import RobotBench, robot_bench
from sensor_msgs.msg import JointState
from servo_and_pose_robots import tool_pose, write_servo_robot
from widowx_bench import ROBOT

from stvla_ros.msg import EndEffectorCommand
from stvla_ros.nodes.drivers.driver import DriverNode
from stvla_ros.nodes.drivers.google_robot_driver import GoogleRobotDriverNode
from stvla_ros.nodes.drivers.moveit_servo_driver import MoveitServoDriverNode

JOINTS = list(ROBOT.driver.arm.joints)


@pytest.fixture(params=["left_finger", ""])
def servo(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RobotBench]:
    """With a finger that is measured, and without."""
    file = write_servo_robot(tmp_path, request.param)

    def measure(node: DriverNode, position: np.ndarray) -> JointState:
        return wire(JointState(name=[*JOINTS, "left_finger"], position=[*position.tolist(), 0.015]))

    home = np.array(ROBOT.driver.home)
    with robot_bench(
        MoveitServoDriverNode, "joint_states", measure, home, ("twist", "gripper"), f"robot:={file}"
    ) as it:
        it.begin()
        it.until_engaged()
        yield it


@pytest.fixture
def google() -> Iterator[RobotBench]:
    def measure(node: DriverNode, position: np.ndarray) -> PoseStamped:
        return wire(tool_pose(position, node._arm.reference))

    home, outputs = np.array([0.6, 0, 0.8, 0, 0, 0]), ("target_pose", "gripper_command")
    with robot_bench(GoogleRobotDriverNode, "tool_pose", measure, home, outputs, "robot:=google_robot") as it:
        it.begin()
        it.until_engaged()
        yield it


def reset(robot: RobotBench) -> None:
    robot.tick(15)
    assert robot.bench.call("~/reset").success
    robot.until_engaged()
    robot.clock.elapsed_ns += 10**6
    robot.new_goal()


def command(robot: RobotBench, gripper: float) -> None:
    robot.command(EndEffectorCommand(gripper=gripper), 0)
    assert robot.bench.sent("command_verdict")[-1].executed, robot.bench.sent("command_verdict")[-1].refused


def test_the_first_twist_after_a_reset_moves_nothing(servo: RobotBench) -> None:
    servo.tick(5)
    servo.bench.call("~/estop")
    servo.tick(15)
    servo.position = servo.position + [0.3, 0.0, 0.0, 0.0, 0.0, 0.0]  # somebody moved it meanwhile
    reset(servo)
    servo.tick(3)
    twists = [each.twist for sent in servo.segments[-1].sent for each in sent["twist"]]
    assert twists and all(abs(each.linear.x) + abs(each.linear.y) + abs(each.linear.z) < 1e-6 for each in twists)


def told(robot: RobotBench, topic: str, ticks: int = 40) -> list[float]:
    said = []
    for _ in range(ticks):
        robot.tick(1)
        said += [each.data for each in robot.bench.sent(topic)]
    return said


def test_what_the_servoed_gripper_holds_is_held_over_a_stop(servo: RobotBench) -> None:
    command(servo, 0.0)
    assert told(servo, "gripper")[-1] == 0.0
    servo.bench.call("~/estop")
    reset(servo)
    command(servo, 0.0)
    assert set(told(servo, "gripper")) <= {0.0}


def test_what_the_google_robot_holds_is_held_over_a_gap_of_its_poses(google: RobotBench) -> None:
    command(google, 0.0)
    assert sum(told(google, "gripper_command")) == pytest.approx(-1.0, abs=1e-6)
    google.speaks = False
    google.tick(40)
    google.speaks = True
    reset(google)
    command(google, 0.0)
    assert told(google, "gripper_command") == []
    command(google, 1.0)
    opened = told(google, "gripper_command")
    assert sum(opened) == pytest.approx(1.0, abs=1e-6) and min(opened) > 0.0
