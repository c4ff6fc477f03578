"""What a robot says of itself cannot be true: behind MoveIt Servo, and with poses of its tool in place of joints."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from any_message import wire
from geometry_msgs.msg import PoseStamped
from robot_bench import RobotBench, robot_bench
from servo_and_pose_robots import tool_pose, write_servo_robot
from widowx_bench import ROBOT as WIDOWX
from widowx_bench import joint_states

from stvla_ros.nodes.drivers.driver import DriverNode
from stvla_ros.nodes.drivers.google_robot_driver import GoogleRobotDriverNode
from stvla_ros.nodes.drivers.moveit_servo_driver import MoveitServoDriverNode


@pytest.fixture
def servo(tmp_path: Path) -> Iterator[RobotBench]:
    file = write_servo_robot(tmp_path)
    home, outputs = np.array(WIDOWX.driver.home), ("twist", "gripper")

    def measure(node: DriverNode, position: np.ndarray) -> object:
        return joint_states(position)

    with robot_bench(MoveitServoDriverNode, "joint_states", measure, home, outputs, f"robot:={file}") as made:
        made.begin()
        yield made


@pytest.fixture
def google() -> Iterator[RobotBench]:
    def measure(node: DriverNode, position: np.ndarray) -> PoseStamped:
        """Position and rotation vector, both in the base frame."""
        return wire(tool_pose(position))

    home, outputs = np.array([0.6, 0.0, 0.8, 0.0, 2.0, 0.0]), ("target_pose", "gripper_command")
    with robot_bench(GoogleRobotDriverNode, "tool_pose", measure, home, outputs, "robot:=google_robot") as made:
        made.begin()
        # Setpoints are told from where it started.
        made.follows = False
        yield made


@pytest.fixture(params=["servo", "google"])
def robot(request: pytest.FixtureRequest) -> RobotBench:
    return request.getfixturevalue(request.param)


@pytest.mark.parametrize("coordinate", [0, 4])
def test_a_jump_latches_and_no_setpoint_follows(robot: RobotBench, coordinate: int) -> None:
    robot.follows = False
    robot.until_engaged()
    robot.tick(2)
    robot.position = robot.position + 0.6 * np.eye(6)[coordinate]
    robot.tick(30)
    assert list(robot.node.latch.causes) == ["measured state"]
    (segment,) = robot.segments
    assert all(np.array_equal(position, segment.start) for position in segment.positions)


@pytest.mark.parametrize("coordinate", [0, 4])
def test_a_robot_that_moves_is_not_taken_up_before_it_rests(robot: RobotBench, coordinate: int) -> None:
    robot.follows = False
    for _ in range(60):
        robot.position = robot.position + 0.3 / robot.node.description.tick_hz * np.eye(6)[coordinate]
        robot.tick(1)
    assert not robot.node.engaged and "moves at 0.3 " in robot.node.detail
    robot.until_engaged()
    assert list(robot.node.latch.causes) == []


def test_two_sources_of_poses_are_found_out(google: RobotBench) -> None:
    google.until_engaged()
    other = google.position + [0.2, 0.0, 0.0, 0.0, 0.0, 0.0]
    google.bench.receive("tool_pose", google._measure(google.node, other))
    assert list(google.node.latch.causes) == ["measured state"]
    assert "x moved 0.2 m" in google.node.latch.causes["measured state"]
