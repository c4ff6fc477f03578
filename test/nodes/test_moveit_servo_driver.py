"""The MoveIt Servo driver, with a stand-in of Servo: it moves an arm's joints as the twists say."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from command_goals import new_goal
from geometry_msgs.msg import TwistStamped
from live_graph import PATIENCE_S, LiveGraph, live_graph
from scipy.spatial.transform import Rotation
from sensor_msgs.msg import JointState
from std_msgs.msg import Bool, Float64, String
from std_srvs.srv import Trigger

from stvla_ros.control.actions import EndEffectorAction
from stvla_ros.msg import CommandVerdict, DriverState
from stvla_ros.nodes.kit.base import LATCHED_QOS
from stvla_ros.nodes.kit.messages import action_to_command, make_header
from stvla_ros.robots.embodiments import ROBOT_DESCRIPTION, find_embodiment
from stvla_ros.robots.urdf_arm import UrdfArm

pytest.importorskip("moveit_msgs", reason="fallback/moveit_msgs is not built")
from moveit_msgs.srv import ServoCommandType

WIDOWX = find_embodiment("widowx")
SETTINGS = {
    "twist_topic": "servo_node/delta_twist_cmds",
    "gripper": {
        "interface": "opening",
        "name": "gripper",
        "finger_joint": "left_finger",
        "finger_closed": 0.015,
        "finger_open": 0.037,
    },
}
SERVO_HZ = 50.0


def robot_file(folder: Path, start_service: str = "switch_command_type", **changed) -> str:
    content = yaml.safe_load((Path(WIDOWX.driver.arm.urdf).parent / "widowx.yaml").read_text())
    content["driver"] |= {"executable": "moveit_servo_driver", "settings": SETTINGS | {"start_service": start_service}}
    content["driver"]["arm"] |= {"urdf": WIDOWX.driver.arm.urdf, **changed}
    content["driver"]["limits"]["joint_state_timeout"] = PATIENCE_S
    file = folder / "servoed.yaml"
    file.write_text(yaml.safe_dump(content))
    return str(file)


class Servo:
    """Integrates the twists once it was told to take them, and says where the joints are.

    :param start_service: by which it is told, as in Jazzy or as in Humble.
    """

    def __init__(self, graph: LiveGraph, robot: str, start_service: str = "switch_command_type") -> None:
        self.takes_twists = False
        if start_service == "switch_command_type":
            graph.node.create_service(ServoCommandType, "servo_node/switch_command_type", self._switch)
        else:
            graph.node.create_service(Trigger, "servo_node/start_servo", self._start)
        arm = WIDOWX.driver.arm
        self.arm = UrdfArm(arm.urdf, arm.joints, arm.tool_frame)
        self.joints = np.array(WIDOWX.driver.home)
        # Kept beside the joints: steps smaller than what the inverse kinematics cares for would be lost otherwise.
        self._pose = self.arm.tool_pose(self.joints)
        self.graph = graph
        self.twists = graph.listen(TwistStamped, SETTINGS["twist_topic"])
        self.grippers = graph.listen(Float64, "gripper")
        self.verdicts = graph.listen(CommandVerdict, "command_verdict")
        self.states = graph.listen(DriverState, "driver_state")
        self._name = find_embodiment(robot).name
        self.goal = new_goal(self._name)
        self.driver = graph.start("moveit_servo_driver", robot=robot)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _switch(self, request: ServoCommandType.Request, response: ServoCommandType.Response) -> Any:
        self.takes_twists = response.success = request.command_type == ServoCommandType.Request.TWIST
        return response

    def _start(self, request: Trigger.Request, response: Trigger.Response) -> Any:
        self.takes_twists = response.success = True
        return response

    def close(self) -> None:
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        taken = 0
        while not self._stopping.wait(1.0 / SERVO_HZ):
            for message in self.twists[taken:]:
                taken += 1
                if not self.takes_twists:
                    continue
                twist, pose = message.twist, self._pose
                pose[:3, 3] += np.array([twist.linear.x, twist.linear.y, twist.linear.z]) / WIDOWX.driver.tick_hz
                turn = np.array([twist.angular.x, twist.angular.y, twist.angular.z]) / WIDOWX.driver.tick_hz
                pose[:3, :3] = Rotation.from_rotvec(turn).as_matrix() @ pose[:3, :3]
                self.joints = self.arm.inverse(pose, self.joints)
            message = JointState(name=[*WIDOWX.driver.arm.joints, "left_finger"])
            message.position = [*self.joints.tolist(), 0.037]
            self.graph.publish("joint_states", message)

    @property
    def tool(self) -> np.ndarray:
        return UrdfArm(WIDOWX.driver.arm.urdf, WIDOWX.driver.arm.joints, "ee_gripper_link").tool_pose(self.joints)[
            :3, 3
        ]

    def until_phase(self, phase: int) -> None:
        self.graph.until(lambda: self.states and self.states[-1].phase == phase, f"phase {phase}; {self.driver.output}")
        if phase == DriverState.READY:
            # Goals from before a start or a reset are over.
            self.goal = new_goal(self._name)

    def command(self, y: float, gripper: float = 1.0) -> None:
        action = EndEffectorAction(np.array([0.0, y, 0.0]), np.zeros(3), gripper)
        self.graph.publish("command", action_to_command(action, make_header(time.time_ns(), "base_link"), self.goal))


# First, while no other driver is there to be heard.
def test_the_urdf_may_come_from_the_topic_robot_description(tmp_path: Path) -> None:
    with live_graph(tmp_path) as graph:
        publisher = graph.node.create_publisher(String, ROBOT_DESCRIPTION, LATCHED_QOS)
        urdf = Path(WIDOWX.driver.arm.urdf)
        # Who gets a text has no folder that its meshes could be relative to.
        text = urdf.read_text().replace('filename="', f'filename="file://{urdf.parent}/')
        publisher.publish(String(data=text))
        robot = robot_file(tmp_path, "start_servo", urdf=ROBOT_DESCRIPTION)
        servo = Servo(graph, robot, "start_servo")
        servo.until_phase(DriverState.READY)
        assert servo.takes_twists
        servo.close()
        graph.node.destroy_publisher(publisher)


@pytest.fixture(scope="module")
def servo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servo]:
    folder = tmp_path_factory.mktemp("servo")
    with live_graph(folder) as graph:
        servo = Servo(graph, robot_file(folder))
        servo.until_phase(DriverState.READY)
        yield servo
        servo.close()


def test_the_twists_lead_the_tool_to_the_target(servo: Servo) -> None:
    before = servo.tool
    for _ in range(4):
        servo.command(y=-0.02, gripper=0.0)
        time.sleep(0.2)
    servo.graph.until(lambda: abs(servo.tool[1] - before[1] + 0.08) < 2e-3, f"the target, from {before}")
    assert servo.twists[-1].header.frame_id == "base_link"
    assert servo.grippers[-1].data == 0.0


def test_at_rest_the_twist_dies_away(servo: Servo) -> None:
    def rests() -> bool:
        twist = servo.twists[-1].twist
        return max(abs(twist.linear.x), abs(twist.linear.y), abs(twist.linear.z), abs(twist.angular.z)) < 1e-3

    servo.graph.until(rests, "twists of zero")


def test_an_emergency_stop_ends_the_motion(servo: Servo) -> None:
    servo.command(y=0.04)
    time.sleep(0.1)
    servo.graph.publish("estop", Bool(data=True))
    servo.until_phase(DriverState.HELD)
    time.sleep(1.0)
    before = servo.tool
    time.sleep(0.3)
    assert np.linalg.norm(servo.tool - before) < 5e-4
