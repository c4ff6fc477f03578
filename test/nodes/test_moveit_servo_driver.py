"""The MoveIt Servo driver, with a stand-in of Servo and the arm in a process of its own."""

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from command_goals import new_goal
from geometry_msgs.msg import TwistStamped
from live_graph import PATIENCE_S, LiveGraph, live_graph
from sensor_msgs.msg import JointState
from servo_robot import SETTINGS, write_servo_robot
from std_msgs.msg import Bool, Float64, String

from stvla_ros.control.actions import EndEffectorAction
from stvla_ros.msg import CommandVerdict, DriverState
from stvla_ros.nodes.kit.base import LATCHED_QOS
from stvla_ros.nodes.kit.messages import action_to_command, make_header
from stvla_ros.robots.embodiments import ROBOT_DESCRIPTION, find_embodiment
from stvla_ros.robots.urdf_arm import UrdfArm

pytest.importorskip("moveit_msgs", reason="fallback/moveit_msgs is not built")

WIDOWX = find_embodiment("widowx")


class Rig:
    """Stand-in and driver.

    :param robot: the robot's file.
    """

    def __init__(self, graph: LiveGraph, robot: Path, with_driver: bool = True) -> None:
        arm = WIDOWX.driver.arm
        self._arm = UrdfArm(arm.urdf, arm.joints, arm.tool_frame)
        self.graph = graph
        self.measured = graph.listen(JointState, "joint_states")
        self.twists = graph.listen(TwistStamped, SETTINGS["twist_topic"])
        self.grippers = graph.listen(Float64, "gripper")
        self.verdicts = graph.listen(CommandVerdict, "command_verdict")
        self.states = graph.listen(DriverState, "driver_state")
        self._name = find_embodiment(str(robot)).name
        self.goal = new_goal(self._name)
        self.stand_in = graph.start("fake_servo", robot=str(robot), start="home")
        if with_driver:
            self.driver = graph.start("moveit_servo_driver", robot=str(robot))

    @property
    def tool(self) -> np.ndarray:
        by_name = dict(zip(self.measured[-1].name, self.measured[-1].position))
        return self._arm.tool_pose(np.array([by_name[name] for name in WIDOWX.driver.arm.joints]))[:3, 3]

    def until_phase(self, phase: int) -> None:
        self.graph.until(lambda: self.states and self.states[-1].phase == phase, f"phase {phase}; {self.driver.output}")
        if phase == DriverState.READY:
            # Goals from before a start or a reset are over.
            self.goal = new_goal(self._name)

    def command(self, y: float, gripper: float = 1.0) -> None:
        action = EndEffectorAction(np.array([0.0, y, 0.0]), np.zeros(3), gripper)
        self.graph.publish("command", action_to_command(action, make_header(time.time_ns(), "base_link"), self.goal))

    def said(self) -> dict[str, str]:
        """The stand-in's diagnostics from now on."""
        self.graph.statuses.pop("fake_servo", None)
        self.graph.until(lambda: "fake_servo" in self.graph.statuses, "the stand-in's diagnostics")
        return {each.key: each.value for each in self.graph.statuses["fake_servo"].values}


# First, while no driver is there to be heard.
def test_the_stand_in_counts_twists_that_would_harm_a_real_arm_and_moves_on_none(tmp_path: Path) -> None:
    with live_graph(tmp_path) as graph:
        rig = Rig(graph, write_servo_robot(tmp_path, "none"), with_driver=False)
        graph.until(lambda: rig.measured, "joint states")
        before = rig.tool
        for frame, speed in (("base_link", np.nan), ("base_link", np.inf), ("camera", 0.1)):
            twist = TwistStamped(header=make_header(time.time_ns(), frame))
            twist.twist.linear.x = speed
            graph.publish(SETTINGS["twist_topic"], twist)
        graph.until(lambda: rig.said()["unsafe_commands"] == "3", "three twists that are refused")
        np.testing.assert_array_equal(rig.tool, before)


# First, while no driver is there to be heard.
def test_the_urdf_may_come_from_the_topic_robot_description(tmp_path: Path) -> None:
    with live_graph(tmp_path) as graph:
        publisher = graph.node.create_publisher(String, ROBOT_DESCRIPTION, LATCHED_QOS)
        urdf = Path(WIDOWX.driver.arm.urdf)
        # Who gets a text has no folder that its meshes could be relative to.
        text = urdf.read_text().replace('filename="', f'filename="file://{urdf.parent}/')
        publisher.publish(String(data=text))
        robot = write_servo_robot(tmp_path, "start_servo", ROBOT_DESCRIPTION, joint_state_timeout=PATIENCE_S)
        rig = Rig(graph, robot)
        rig.until_phase(DriverState.READY)
        assert rig.said()["takes_twists"] == "True"
        graph.node.destroy_publisher(publisher)


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    folder = tmp_path_factory.mktemp("servo")
    with live_graph(folder) as graph:
        rig = Rig(graph, write_servo_robot(folder, joint_state_timeout=PATIENCE_S))
        rig.until_phase(DriverState.READY)
        yield rig


def test_the_twists_lead_the_tool_to_the_target(rig: Rig) -> None:
    before = rig.tool
    for _ in range(4):
        rig.command(y=-0.02, gripper=0.0)
        time.sleep(0.2)
    rig.graph.until(lambda: abs(rig.tool[1] - before[1] + 0.08) < 2e-3, f"the target, from {before}")
    assert rig.twists[-1].header.frame_id == "base_link"
    assert rig.grippers[-1].data == 0.0


def test_at_rest_the_twist_dies_away(rig: Rig) -> None:
    def rests() -> bool:
        twist = rig.twists[-1].twist
        return max(abs(twist.linear.x), abs(twist.linear.y), abs(twist.linear.z), abs(twist.angular.z)) < 1e-3

    rig.graph.until(rests, "twists of zero")


def test_an_emergency_stop_ends_the_motion(rig: Rig) -> None:
    rig.command(y=0.04)
    time.sleep(0.1)
    rig.graph.publish("estop", Bool(data=True))
    rig.until_phase(DriverState.HELD)
    time.sleep(1.0)
    before = rig.tool
    time.sleep(0.3)
    assert np.linalg.norm(rig.tool - before) < 5e-4
