"""The newest camera_info, as intrinsics for the arriving pictures."""

from collections.abc import Callable, Sequence

import numpy as np
from rclpy.clock import Clock, ClockType
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.topic_endpoint_info import TopicEndpointInfo
from sensor_msgs.msg import CameraInfo

from stvla_ros.errors import InputError
from stvla_ros.nodes.kit.base import LATCHED_QOS, StvlaNode
from stvla_ros.perception.calibration import (
    CameraCalibration,
    distortion_text,
    from_message,
    intrinsics_for,
    is_rectified,
    scaled_by,
)
from stvla_ros.perception.geometry import check_intrinsics

# Interval of the search for a publisher that leaves its camera_info on the topic.
_LOOK_PERIOD_S = 0.5


def subscribe_to_camera_info(node: StvlaNode, take: Callable[[CameraInfo], None], qos: QoSProfile) -> None:
    """Subscribe while the node is active. A driver may send it once, before anybody listens, and leave it on the topic
    (latched). If a publisher does so, a second subscription asks for the kept message. Asking a usual publisher for it
    would be an error.
    """
    topic = node.resolve_topic_name("camera_info")
    node.subscribe(CameraInfo, "camera_info", take, qos)

    def look() -> None:
        if is_latched(node.get_publishers_info_by_topic(topic)):
            timer.cancel()
            node.subscribe(CameraInfo, "camera_info", take, LATCHED_QOS, watched=False)

    timer = node.create_timer(_LOOK_PERIOD_S, look, clock=Clock(clock_type=ClockType.STEADY_TIME))
    node.on_stop_inputs(lambda: node.destroy_timer(timer))


def is_latched(publishers: Sequence[TopicEndpointInfo]) -> bool:
    """Whether one of the publishers leaves its last message on the topic."""
    return any(each.qos_profile.durability == DurabilityPolicy.TRANSIENT_LOCAL for each in publishers)


class CameraInfoInput:
    """
    :param node: node that provides the topics' names and the log.
    :param tells: whether pictures of another size, and a lens that distorts, are reported; one node of a graph is
        enough.
    """

    def __init__(self, node: StvlaNode, *, tells: bool = False) -> None:
        self._node, self._tells = node, tells
        self._calibration: CameraCalibration | None = None
        self._said: set[str] = set()
        self._rectified = is_rectified(node.resolve_topic_name("image"))

    @property
    def known(self) -> bool:
        """Whether a message has come."""
        return self._calibration is not None

    def take(self, message: CameraInfo) -> None:
        """Take the newest message. An impossible calibration is reported at once."""
        self._calibration = from_message(message)
        try:
            check_intrinsics(self._calibration.intrinsics)
        except InputError as error:
            self._node.reject("camera_info", f"topic camera_info: {error}")
            return
        if self._tells and not self._rectified and (said := distortion_text(self._calibration)):
            self._warn(f"topic camera_info: {said}")

    def intrinsics(self, size: tuple[int, int]) -> np.ndarray | None:
        """
        :param size: (width, height) of the picture, pixels.
        :returns: (3, 3) pinhole matrix, pixels of that picture; None when none came.
        :raises InputError: for a calibration that does not fit such a picture.
        """
        calibration = self._calibration
        if calibration is None:
            return None
        try:
            matrix = intrinsics_for(calibration, size, self._rectified)
        except InputError as error:
            raise InputError(f"topic camera_info: {error}") from None
        if self._tells and (scale := scaled_by(calibration, size)) != 1.0:
            self._warn(
                f"topic camera_info: for pictures of {calibration.width}x{calibration.height}, they are "
                f"{size[0]}x{size[1]}; taken times {scale:g}"
            )
        return matrix

    def _warn(self, line: str) -> None:
        """Log each line once."""
        if line not in self._said and len(self._said) < 16:
            self._said.add(line)
            self._node.get_logger().warning(line)
