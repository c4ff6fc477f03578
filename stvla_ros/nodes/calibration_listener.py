"""Listens to a camera and an arm for `stvla calibrate`: the pictures of each place at which the arm rests."""

from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, JointState
from std_msgs.msg import String

from stvla_ros.errors import InputError
from stvla_ros.nodes.kit.base import LATCHED_QOS
from stvla_ros.nodes.kit.camera_info import is_latched
from stvla_ros.nodes.kit.command_node import CommandNode
from stvla_ros.nodes.kit.messages import image_to_rgb, stamp_ns
from stvla_ros.nodes.kit.picture_topics import Found, find_pictures
from stvla_ros.perception.calibration import CameraCalibration, from_message, is_rectified
from stvla_ros.robots.resting import ANOTHER_RAD, MOST_PICTURES, RestingPictures, rests

_QOS = QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=10, reliability=ReliabilityPolicy.BEST_EFFORT)
_FOUND_WITHIN_S, _HEARD_WITHIN_S = 3.0, 5.0
# Of the arm's last seconds, and of pictures beside them.
_KEPT_NS = 4_000_000_000
_KEPT_PICTURES = 40
_LOOK_PERIOD_S = 0.1


class CalibrationListener:
    """
    :param listener: node that is spun while somebody waits.
    :param image: topic of the pictures, raw or compressed.
    :param camera_info: topic of their intrinsics.
    :param joint_states: topic of the arm's joints, which may come in parts.
    :param joints: names of the joints, in the order of every position.
    """

    def __init__(
        self, listener: CommandNode, image: str, camera_info: str, joint_states: str, joints: tuple[str, ...]
    ) -> None:
        self._listener, self._joints = listener, joints
        node = listener.node
        self._image, self._info, self._states = (
            node.resolve_topic_name(topic) for topic in (image, camera_info, joint_states)
        )
        self._pictures: deque[tuple[int, Any]] = deque(maxlen=_KEPT_PICTURES)
        self._positions: deque[tuple[int, np.ndarray]] = deque()
        self._known: dict[str, float] = {}
        self._camera: CameraCalibration | None = None

    def subscribe(self) -> None:
        """:raises InputError: for a topic that nobody publishes, or of another type."""
        node = self._listener.node
        found = lambda: find_pictures(node, self._image, "auto")  # noqa: E731
        self._listener.wait(lambda: isinstance(found(), Found), _FOUND_WITHIN_S)
        pictures = found()
        if not isinstance(pictures, Found):
            raise InputError(f"topic {self._image}: {pictures or 'expected pictures, nobody publishes it'}")
        self._image = pictures.topic
        node.create_subscription(pictures.kind, pictures.topic, self._on_picture, _QOS)
        for topic in (self._info, self._states):
            self._listener.wait(partial(node.count_publishers, topic), _FOUND_WITHIN_S)
        node.create_subscription(CameraInfo, self._info, self._on_info, _QOS)
        if is_latched(node.get_publishers_info_by_topic(self._info)):
            node.create_subscription(CameraInfo, self._info, self._on_info, LATCHED_QOS)
        node.create_subscription(JointState, self._states, self._on_joints, _QOS)
        heard = {
            self._image: lambda: self._pictures,
            self._info: lambda: self._camera is not None,
            self._states: lambda: self._positions,
        }
        came: Callable[[], object]
        for topic, came in heard.items():
            if not self._listener.wait(came, _HEARD_WITHIN_S):
                what = f"positions of {', '.join(self._joints)}" if topic == self._states else "a message"
                publishers = node.count_publishers(topic)
                raise InputError(
                    f"topic {topic}: expected {what}, got none in {_HEARD_WITHIN_S:g} s ({publishers} publishers)"
                )

    def description(self, topic: str) -> str:
        """The text on a latched topic. :raises InputError: when none comes."""
        texts: list[str] = []

        def take(message: String) -> None:
            texts.append(message.data)

        subscription = self._listener.node.create_subscription(String, topic, take, LATCHED_QOS)
        self._listener.wait(lambda: texts, _HEARD_WITHIN_S)
        self._listener.node.destroy_subscription(subscription)
        if not texts:
            raise InputError(f"topic {topic}: expected the robot's URDF, got none in {_HEARD_WITHIN_S:g} s")
        return texts[0]

    def rests(self) -> Iterator[RestingPictures]:
        """Each place at which the arm comes to rest, as soon as it has; without end."""
        last: np.ndarray | None = None
        rectified = is_rectified(self._image)
        while True:
            self._listener.pause(_LOOK_PERIOD_S)
            times = np.array([stamp for stamp, _ in self._positions], np.int64)
            found = rests(times, np.array([position for _, position in self._positions]))
            if not found:
                continue
            rest = found[-1]
            of_rest = [message for stamp, message in self._pictures if rest.begin_ns <= stamp <= rest.end_ns]
            known = last is not None and np.abs(rest.position - last).max() <= ANOTHER_RAD
            if known or len(of_rest) < MOST_PICTURES:
                continue
            last = rest.position
            pictures = tuple(image_to_rgb(message, self._image) for message in of_rest[-MOST_PICTURES:])
            yield RestingPictures(rest, pictures, self._camera, rectified)
            self._pictures.clear()

    def _on_picture(self, message: Any) -> None:
        self._pictures.append((stamp_ns(message.header), message))

    def _on_info(self, message: CameraInfo) -> None:
        if message.k[0] > 0:
            self._camera = from_message(message)

    def _on_joints(self, message: JointState) -> None:
        if len(message.name) != len(message.position) or not np.isfinite(message.position).all():
            return
        self._known |= dict(zip(message.name, message.position))
        stamp = stamp_ns(message.header)
        if self._positions and stamp < self._positions[-1][0]:
            if stamp > self._positions[-1][0] - _KEPT_NS:
                return
            self._positions.clear()  # the source started anew
        if all(name in self._known for name in self._joints):
            self._positions.append((stamp, np.array([self._known[name] for name in self._joints])))
            while self._positions[0][0] < stamp - _KEPT_NS:
                self._positions.popleft()
