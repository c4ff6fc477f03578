"""Subscribes to a camera's pictures, raw or compressed: the graph tells the topic's type."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.qos import QoSProfile
from sensor_msgs.msg import CompressedImage, Image

from stvla_ros.nodes.kit.base import StvlaNode

TRANSPORTS = ("auto", "raw", "compressed")
RAW_TYPE, COMPRESSED_TYPE = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"
_TYPES = {RAW_TYPE: Image, COMPRESSED_TYPE: CompressedImage}
# Names that image_transport gives to the topics beside a raw one.
_BESIDE = ("compressed", "compressedDepth")
# Interval of the search for publishers until the first picture comes.
_LOOK_PERIOD_S = 0.5


class CameraPictures(NamedTuple):
    """Used instead of a message type: the pictures of a camera.

    :param transport: transport of the pictures, one of ``TRANSPORTS``.
    """

    transport: str = "auto"


class Found(NamedTuple):
    """The source of pictures.

    :param topic: full name of the topic.
    :param kind: message type of the topic.
    """

    topic: str
    kind: type


def find_pictures(node: Node, topic: str, transport: str) -> Found | str:
    """
    :param topic: full name of the wanted topic.
    :returns: the topic itself if a publisher of a fitting type is there, or one that image_transport puts beside it if
        only that one is there. Otherwise a description of what is there instead, for people; empty when nothing is.
    """
    candidates = list(picture_candidates(topic, transport))
    types = {name: {info.topic_type for info in node.get_publishers_info_by_topic(name)} for name, _ in candidates}
    for name, kind in candidates:
        if kind in types[name]:
            return Found(name, _TYPES[kind])
    if not (others := types[topic]):
        return ""
    expected = " or ".join(dict.fromkeys(kind for name, kind in candidates if name == topic))
    return f"is a topic of {', '.join(sorted(others))}, expected {expected} (image_transport {transport})"


def picture_candidates(topic: str, transport: str) -> Iterator[tuple[str, str]]:
    """Names and types of the topics on which pictures may come, the preferred one first."""
    if transport != "compressed":
        yield topic, RAW_TYPE
    if transport != "raw":
        yield topic, COMPRESSED_TYPE
        for name in _BESIDE:
            yield f"{topic}/{name}", COMPRESSED_TYPE


class PictureSubscriber:
    """Like message_filters' Subscriber, but with the type that the topic turns out to have. Raw pictures are expected
    until publishers of others are found; a topic of another type is reported.
    """

    def __init__(self, node: StvlaNode, pictures: CameraPictures, topic: str, qos: QoSProfile) -> None:
        self._node, self._pictures, self._qos = node, pictures, qos
        self._name = topic
        self._found = Found(topic, CompressedImage if pictures.transport == "compressed" else Image)
        self._callbacks: list[tuple[Callable[..., None], tuple[Any, ...]]] = []
        self._came = False
        self.sub = node.create_subscription(self._found.kind, topic, self.callback, qos_profile=qos)
        self._timer = node.create_timer(_LOOK_PERIOD_S, self._look, clock=Clock(clock_type=ClockType.STEADY_TIME))
        node.on_stop_inputs(lambda: node.destroy_timer(self._timer))

    def registerCallback(self, callback: Callable[..., None], *args: Any) -> None:  # noqa: N802 (message_filters')
        self._callbacks.append((callback, args))

    def callback(self, message: Image | CompressedImage) -> None:
        """Take a picture."""
        if not self._came:
            self._came = True
            self._timer.cancel()
        for callback, args in self._callbacks:
            callback(message, *args)

    def _look(self) -> None:
        topic = self._node.resolve_topic_name(self._name)
        found = find_pictures(self._node, topic, self._pictures.transport)
        if isinstance(found, str):
            if found:
                self._node.reject("type", f"topic {self._name} ({topic}) {found}")
            return
        if found.topic == topic:
            found = Found(self._name, found.kind)
        if found != self._found:
            # Destroyed first: a participant can have only one type for a topic.
            self._node.destroy_subscription(self.sub)
            self._found = found
            self.sub = self._node.create_subscription(found.kind, found.topic, self.callback, qos_profile=self._qos)
            self._node.get_logger().info(f"topic {self._name}: takes {found.kind.__name__} from {found.topic}")
