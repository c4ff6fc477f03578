"""Publishes a simulator's observations on the topics of a real robot and its camera."""

import re
from pathlib import Path

import numpy as np
from geometry_msgs.msg import TransformStamped
from sensor_msgs.msg import CameraInfo, Image, JointState
from std_msgs.msg import Header, String
from tf2_msgs.msg import TFMessage

from stvla_ros.nodes.kit.base import LATCHED_QOS, RELIABLE_QOS, StvlaNode
from stvla_ros.nodes.kit.messages import array_to_image, make_camera_info, make_header, pose_to_transform
from stvla_ros.sim.environment import EnvironmentInfo, Observation


class ObservationOutputs:
    """Publishers of ``image``, ``camera_info``, ``sensor_depth``, ``joint_states``, ``tf``, ``tf_static``,
    ``robot_description``.
    """

    def __init__(self, node: StvlaNode, info: EnvironmentInfo) -> None:
        self._info = info
        self._image = node.create_publisher(Image, "image", RELIABLE_QOS)
        self._camera_info = node.create_publisher(CameraInfo, "camera_info", RELIABLE_QOS)
        self._depth = node.create_publisher(Image, "sensor_depth", RELIABLE_QOS)
        self._joints = node.create_publisher(JointState, "joint_states", RELIABLE_QOS)
        self._tf = node.create_publisher(TFMessage, "/tf", RELIABLE_QOS)
        self._tf_static = node.create_publisher(TFMessage, "/tf_static", LATCHED_QOS)
        self._description = node.create_publisher(String, "robot_description", LATCHED_QOS)
        self._camera_pose: np.ndarray | None = None
        if info.urdf is not None:
            self._description.publish(String(data=urdf_with_file_uris(info.urdf)))

    def publish(self, observation: Observation, stamp: int) -> None:
        """Publish one observation under one stamp."""
        header = make_header(stamp, self._info.camera_frame)
        height, width = observation.rgb.shape[:2]
        if self._camera_pose is None or not np.array_equal(self._camera_pose, observation.base_from_camera):
            self._camera_pose = observation.base_from_camera
            transform = self._transform(stamp, self._info.camera_frame, observation.base_from_camera)
            self._tf_static.publish(TFMessage(transforms=[transform]))
        self._camera_info.publish(make_camera_info(observation.intrinsics, width, height, header))
        encoding = "16UC1" if observation.depth.dtype == np.uint16 else "32FC1"
        self._depth.publish(array_to_image(observation.depth, encoding, header))
        self._image.publish(array_to_image(observation.rgb, "rgb8", header))
        joints = JointState(header=make_header(stamp, self._info.base_frame), name=list(observation.joint_names))
        joints.position = observation.joint_positions.tolist()
        self._joints.publish(joints)
        if self._tf.get_subscription_count():
            links = observation.base_from_link.items()
            transforms = [self._transform(stamp, name, pose) for name, pose in links if name != self._info.base_frame]
            self._tf.publish(TFMessage(transforms=transforms))

    def _transform(self, stamp: int, child: str, pose: np.ndarray) -> TransformStamped:
        header: Header = make_header(stamp, self._info.base_frame)
        return TransformStamped(header=header, child_frame_id=child, transform=pose_to_transform(pose))


def urdf_with_file_uris(urdf: Path) -> str:
    """The URDF's text with relative mesh paths made absolute: rviz gets only the text and could not resolve them."""

    def absolute(match: re.Match[str]) -> str:
        path = match.group(1)
        return match.group(0) if "://" in path else f'filename="{(urdf.parent / path).resolve().as_uri()}"'

    return re.sub(r'filename="([^"]+)"', absolute, urdf.read_text())
