"""ROS parameters that several nodes share."""

from typing import NamedTuple

from rclpy.qos import QoSProfile

from stvla_ros.nodes.kit.base import RELIABLE_QOS, SENSOR_QOS, StvlaNode
from stvla_ros.nodes.kit.picture_topics import TRANSPORTS, CameraPictures


def declare_sensor_qos(node: StvlaNode) -> QoSProfile:
    """QoS of the camera topics' subscriptions: REP-2003's best effort, or reliable where every frame counts
    (lockstep).
    """
    reliability = node.parameter(
        "sensor_reliability", "best_effort", "QoS of camera topics", choices=("best_effort", "reliable")
    )
    return RELIABLE_QOS if reliability == "reliable" else SENSOR_QOS


def declare_queue_size(node: StvlaNode) -> int:
    return node.parameter("queue_size", 5, "frames that may wait; a full queue drops its oldest", low=1, high=1000)


def declare_join_window(node: StvlaNode) -> int:
    # Longer than any stage's backlog (2 s at 30 Hz): if a slow partner took longer than the window, nothing would ever
    # match.
    return node.parameter(
        "join_window", 60, "frames of a topic that wait for those that belong to them", low=1, high=10_000
    )


def declare_sync_tolerance(node: StvlaNode) -> int | None:
    """Largest difference of the stamps of a picture and its depth, nanoseconds; None: half the pictures' period."""
    seconds = node.parameter(
        "sync_tolerance",
        -1.0,
        "seconds by which stamps of a picture and of its depth may differ; 0: equal; -1: half the pictures' period",
        low=-1.0,
        high=10.0,
    )
    return None if seconds < 0 else round(seconds * 1e9)


class Camera(NamedTuple):
    """Settings of the subscriptions to a camera's topics.

    :param tolerance_ns: largest difference of the stamps of a picture and its depth, see ``FramePairs``.
    """

    pictures: CameraPictures
    qos: QoSProfile
    tolerance_ns: int | None = None


def declare_camera(node: StvlaNode, *, with_depth: bool = False) -> Camera:
    """:param with_depth: whether the node joins pictures with a sensor's depth."""
    transport = node.parameter(
        "image_transport",
        "auto",
        "pictures and depth come raw or compressed; auto: as their topics, or those that image_transport puts beside "
        "them, turn out",
        choices=TRANSPORTS,
    )
    tolerance_ns = declare_sync_tolerance(node) if with_depth else None
    return Camera(CameraPictures(transport), declare_sensor_qos(node), tolerance_ns)
