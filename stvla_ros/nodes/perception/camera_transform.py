"""Publishes the given camera pose on ``tf_static``, so that drawings in the camera's frame appear at the right place on
the arm.
"""

import time

import numpy as np
from geometry_msgs.msg import TransformStamped
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from tf2_msgs.msg import TFMessage

from stvla_ros.errors import InputError
from stvla_ros.nodes.kit.base import LATCHED_QOS, StvlaNode
from stvla_ros.nodes.kit.messages import make_header, pose_to_transform, transform_to_pose

_TOPIC = "/tf_static"
# Each publisher has left its last message there.
_QOS = QoSProfile(depth=100, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL)
# Time within which a camera driver's latched messages come, seconds.
_SETTLE_S = 1.0
_LOOK_S = 0.2


class CameraTransform:
    """A frame has only one parent, and a camera's driver often already gives its optical frame one. So the root of the
    camera's own frames is placed in the robot's frame, such that the optical frame has the given pose.

    Make it in the node's ``configure``.

    :param node: node that publishes.
    :param parent: frame of the robot.
    :param pose: (4, 4) pose of the camera's optical frame in it.
    """

    def __init__(self, node: StvlaNode, parent: str, pose: np.ndarray) -> None:
        self._node, self._parent, self._pose = node, parent, pose
        self._publisher = node.create_publisher(TFMessage, _TOPIC, LATCHED_QOS)
        self._parents: dict[str, tuple[str, np.ndarray]] = {}
        self._camera, self._heard_at = "", 0.0
        self._told: tuple[str, np.ndarray] | None = None
        node.every(_LOOK_S, self._tell)

    def subscribe(self) -> None:
        """Call this from the node's ``activate``."""
        self._node.subscribe(TFMessage, _TOPIC, self._on_transforms, _QOS, watched=False)

    def seen(self, camera: str) -> None:
        """:param camera: frame of the camera's pictures."""
        if camera and camera != self._camera:
            self._camera, self._heard_at = camera, time.monotonic()

    def _on_transforms(self, message: TFMessage) -> None:
        for each in message.transforms:
            own = self._told is not None and (each.header.frame_id, each.child_frame_id) == (
                self._parent,
                self._told[0],
            )
            if own:
                continue
            try:
                self._parents[each.child_frame_id] = each.header.frame_id, transform_to_pose(each.transform, _TOPIC)
            except InputError as error:
                self._node.reject("tf_static", str(error))

    def _tell(self) -> None:
        if not self._camera or time.monotonic() < self._heard_at + _SETTLE_S:
            return
        root, camera_in_root = self._camera, np.eye(4)
        for _ in range(len(self._parents)):
            if root == self._parent or root not in self._parents:
                break
            root, step = self._parents[root]
            camera_in_root = step @ camera_in_root
        if root == self._parent:
            self._node.reject(
                "camera_pose",
                f"topic {_TOPIC}: {self._camera} is in {self._parent} already; camera_pose is not published",
            )
            return
        pose = self._pose @ np.linalg.inv(camera_in_root)
        if self._told is not None and self._told[0] == root and np.allclose(self._told[1], pose):
            return
        self._told = root, pose
        header = make_header(self._node.now_ns(), self._parent)
        transform = TransformStamped(header=header, child_frame_id=root, transform=pose_to_transform(pose))
        self._publisher.publish(TFMessage(transforms=[transform]))
