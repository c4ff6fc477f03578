"""The robot's data for a frame's tracker: its joints at the frame's time, its URDF, the camera's pose."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from sensor_msgs.msg import CameraInfo, Image, JointState
from std_msgs.msg import String
from tf2_msgs.msg import TFMessage

from stvla_ros.errors import InputError
from stvla_ros.nodes.kit.base import LATCHED_QOS, RELIABLE_QOS, StvlaNode
from stvla_ros.nodes.kit.camera_info import CameraInfoInput, subscribe_to_camera_info
from stvla_ros.nodes.kit.messages import stamp_ns, transform_to_pose
from stvla_ros.perception.frame_pairs import RESTART_NS
from stvla_ros.perception.robot_view import RobotView
from stvla_ros.recordings.compressed import size_of
from stvla_ros.robots.robot_links import RobotLinks

# More joint states than any robot sends between a frame and the perception's result for it.
_KEPT = 512
_WITHOUT_ROBOT = "frame without the robot's pose"


@dataclass(frozen=True)
class RobotPose:
    """The robot's data at one frame.

    :param joints: positions in radians or metres by joint name, at the frame's time.
    """

    links: RobotLinks
    joints: dict[str, float]
    base_from_camera: np.ndarray
    intrinsics: np.ndarray

    def view(self) -> RobotView:
        """:raises InputError: for joints that do not belong to the URDF."""
        return self.links.view(self.joints, self.base_from_camera, self.intrinsics)


class RobotPoses:
    """Adds the robot's pose to frames. A frame waits for joint states of its time or later, for ``robot_description``,
    for ``camera_info`` and, unless the camera's pose was given, for ``tf_static``. Joints are interpolated between the
    two states around the frame; a state with exactly its stamp is taken as it is. Everything runs in the executor's
    thread.

    :param window: number of frames that may wait.
    :param take: function that is called with each frame and its :class:`RobotPose`.
    :param camera_pose: (4, 4) pose of the camera's optical frame in the URDF's first link; None: ``tf_static`` gives
        it.
    """

    def __init__(
        self,
        node: StvlaNode,
        window: int,
        take: Callable[[Any, RobotPose], None],
        camera_pose: np.ndarray | None = None,
    ) -> None:
        self._node, self._window, self._take = node, window, take
        self._camera_pose = camera_pose
        self._waiting: deque[tuple[int, Image, Any]] = deque()
        self._joints: deque[tuple[int, dict[str, float]]] = deque(maxlen=_KEPT)
        self._parents: dict[str, tuple[str, np.ndarray]] = {}
        self._links: RobotLinks | None = None
        self._described = ""
        self._camera_info = CameraInfoInput(node)

    def subscribe(self, sensor_qos: Any, *, camera_info: bool = True) -> None:
        """:param camera_info: whether this object subscribes to it; False when the node does, and calls
        :meth:`set_camera_info`.
        """
        node = self._node
        node.subscribe(JointState, "joint_states", self._add_joints, RELIABLE_QOS)
        node.subscribe(String, "robot_description", self._set_description, LATCHED_QOS, watched=False)
        if self._camera_pose is None:
            node.subscribe(TFMessage, "/tf_static", self._add_transforms, LATCHED_QOS, watched=False)
        if camera_info:
            subscribe_to_camera_info(node, self.set_camera_info, sensor_qos)

    def add(self, image: Image, frame: Any) -> None:
        """Take a frame.

        :param image: picture of the frame.
        :param frame: object that ``take`` gets.
        """
        stamp = stamp_ns(image.header)
        if self._waiting and stamp < self._waiting[-1][0] - RESTART_NS:
            self._give_up(len(self._waiting))
        self._waiting.append((stamp, image, frame))
        self._hand_on()
        if len(self._waiting) > self._window:
            self._node.reject("robot", self._missing())
            self._give_up(1)

    def set_camera_info(self, message: CameraInfo) -> None:
        self._camera_info.take(message)
        self._hand_on()

    def _set_description(self, message: String) -> None:
        if message.data == self._described:
            return
        self._described, self._links = message.data, None
        try:
            self._links = RobotLinks(message.data)
        except InputError as error:
            self._node.reject("robot_description", f"topic robot_description: {error}")
        self._hand_on()

    def _add_transforms(self, message: TFMessage) -> None:
        for each in message.transforms:
            try:
                pose = transform_to_pose(each.transform, "tf_static")
            except InputError as error:
                self._node.reject("tf_static", str(error))
                continue
            self._parents[each.child_frame_id] = (each.header.frame_id, pose)
        self._hand_on()

    def _add_joints(self, message: JointState) -> None:
        if len(message.name) != len(message.position) or not np.isfinite(message.position).all():
            self._node.reject("joint_states", "topic joint_states: expected one finite position for each name")
            return
        stamp = stamp_ns(message.header)
        if self._joints and stamp < self._joints[-1][0]:
            self._joints.clear()  # the source started anew
        self._joints.append((stamp, dict(zip(message.name, message.position, strict=True))))
        self._hand_on()

    def _hand_on(self) -> None:
        while self._waiting:
            stamp, image, frame = self._waiting[0]
            camera = self._camera(image.header.frame_id)
            if self._links is None or not self._camera_info.known or camera is None:
                return
            if not self._joints or self._joints[-1][0] < stamp:
                return
            self._waiting.popleft()
            joints = self._at(stamp)
            if joints is None:  # the first joint state is newer
                self._node.stage.dropped(_WITHOUT_ROBOT)
                continue
            try:
                intrinsics = self._camera_info.intrinsics(size_of(image))
            except InputError as error:
                self._node.reject("camera_info", str(error))
                continue
            self._take(frame, RobotPose(self._links, joints, camera, intrinsics))

    def _at(self, stamp: int) -> dict[str, float] | None:
        earlier = [each for each in self._joints if each[0] <= stamp]
        if not earlier:
            return None
        begin, joints = earlier[-1]
        if begin == stamp:
            return joints
        end, later = next(each for each in self._joints if each[0] > stamp)
        share = (stamp - begin) / (end - begin)
        return {name: value + share * (later.get(name, value) - value) for name, value in joints.items()}

    def _camera(self, frame_id: str) -> np.ndarray | None:
        """(4, 4) pose of the camera in the URDF's first link; None while it is not known."""
        if self._camera_pose is not None:
            return self._camera_pose
        pose, frame = np.eye(4), frame_id
        for _ in range(len(self._parents) + 1):
            if self._links is not None and frame == self._links.base_link:
                return pose
            if frame not in self._parents:
                return None
            frame, step = self._parents[frame]
            pose = step @ pose
        return None  # a circle

    def _missing(self) -> str:
        if self._links is None:
            return "topic robot_description: the tracker needs the robot's URDF, there is none"
        if not self._camera_info.known:
            return "topic camera_info: the tracker needs the camera's intrinsics, there are none"
        frame = self._waiting[0][1].header.frame_id
        if self._camera(frame) is None:
            return f"topic tf_static: the tracker needs the pose of {frame} in {self._links.base_link}, it has none"
        return "topic joint_states: the tracker needs the robot's joints at each frame's time or later, there are none"

    def _give_up(self, count: int) -> None:
        for _ in range(count):
            self._waiting.popleft()
        self._node.stage.dropped(_WITHOUT_ROBOT, count)
