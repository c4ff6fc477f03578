"""The arm's kinematics from its file, or from the topic ``robot_description``."""

from rclpy.wait_for_message import wait_for_message
from std_msgs.msg import String

from stvla_ros.errors import InputError
from stvla_ros.nodes.drivers.driver_base import DriverBase
from stvla_ros.nodes.kit.base import LATCHED_QOS, StvlaNode
from stvla_ros.robots.embodiments import ROBOT_DESCRIPTION, ArmDescription
from stvla_ros.robots.urdf_arm import UrdfArm

_WAIT_S = 10.0


def make_urdf_arm(node: DriverBase, arm: ArmDescription | None) -> UrdfArm:
    """:raises InputError: when there is no description or no URDF, when the URDF lacks a joint or link, or when its
    limits are narrower than those of the robot's file.
    """
    if arm is None:
        raise InputError("robot: expected driver.arm with urdf, joints and tool_frame, it is missing")
    urdf = urdf_of(node, arm.urdf, node.description.needs().description_topic)
    made = UrdfArm(urdf, arm.joints, arm.tool_frame)
    node.limits.check_joints(made.names)
    node.limits.check_urdf(made.names, *made.position_limits, made.velocity_limits)
    return made


def urdf_of(node: StvlaNode, urdf: str, topic: str) -> str:
    """
    :param urdf: file, or ``ROBOT_DESCRIPTION`` for what comes on the topic.
    :returns: file, or the text.
    :raises InputError: when nothing comes.
    """
    if urdf != ROBOT_DESCRIPTION:
        return urdf
    came, message = wait_for_message(String, node, topic, qos_profile=LATCHED_QOS, time_to_wait=_WAIT_S)
    if not came:
        raise InputError(f"topic {topic}: expected the robot's URDF within {_WAIT_S:g} s, got nothing")
    return message.data
