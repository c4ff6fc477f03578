"""Settings of a robot whose own controller takes poses of its tool."""

from dataclasses import dataclass

from stvla_ros.robots.drivers import DriverKind, DriverNeeds
from stvla_ros.robots.pose_arm import PoseArm
from stvla_ros.settings import check_filled


@dataclass(frozen=True)
class PoseSettings:
    """``driver.settings`` of the robot's file.

    :param pose_topic: topic of the measured pose of the tool point in the base frame (geometry_msgs/PoseStamped), at 10
        Hz or more.
    :param target_topic: topic of the wanted poses (geometry_msgs/PoseStamped), at ``tick_hz``.
    :param gripper_topic: topic of the wanted opening (std_msgs/Float32), 0 closed to 1 open.
    :param relative_gripper: whether changes of the opening are sent instead; their sum is the wanted opening.
    """

    pose_topic: str
    target_topic: str
    gripper_topic: str
    relative_gripper: bool = True

    def __post_init__(self) -> None:
        check_filled(self, "pose_topic", "target_topic", "gripper_topic")


def _needs(settings: PoseSettings, joints: tuple[str, ...]) -> DriverNeeds:
    return DriverNeeds(
        pose_topic=settings.pose_topic,
        start="start the site's driver of the robot, which publishes its tool pose (docs/how-to/run-a-robot.md)",
        setting="driver.settings.pose_topic in the robot's file",
    )


GOOGLE_ROBOT_DRIVER = DriverKind(
    PoseSettings,
    _needs,
    "stvla_ros.nodes.drivers.google_robot_driver",
    coordinates=PoseArm.names,
    commands=lambda settings: (settings.target_topic, settings.gripper_topic),
)
