"""Joins topics by their stamps, and counts everything unmatched; also the rule for stamps that do not advance."""

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar, cast

from rclpy.qos import QoSProfile
from sensor_msgs.msg import CompressedImage, Image

from stvla_ros.nodes.kit.base import StvlaNode
from stvla_ros.nodes.kit.compat import message_filters
from stvla_ros.nodes.kit.messages import stamp_ns
from stvla_ros.nodes.kit.parameters import Camera
from stvla_ros.nodes.kit.picture_topics import CameraPictures, PictureSubscriber
from stvla_ros.perception.frame_pairs import RESTART_NS, FramePairs

# Time without a pair after which a join reports what came.
LONE_S = 1.0


class StampOrder:
    """Distinguishes frames in order, repeated or late ones, and a source that started anew."""

    def __init__(self) -> None:
        self.newest: int | None = None
        """The newest stamp since the source started, nanoseconds; None before the first."""

    def is_restart(self, stamp: int) -> bool:
        """Whether the source jumped back in time; from then on its stamps count anew."""
        restart = self.newest is not None and stamp < self.newest - RESTART_NS
        if self.newest is None or restart or stamp > self.newest:
            self.newest = stamp
        return restart


class NearSynchronizer:
    """Replaces message_filters' TimeSynchronizer: joins each picture with its depth by the rule of ``FramePairs``.

    :param fs: filters of pictures and of depths.
    :param queue_size: number of messages kept on each side.
    :param tolerance_ns: largest difference of the stamps, see ``FramePairs``.
    """

    def __init__(self, fs: Sequence[Any], queue_size: int, tolerance_ns: int | None) -> None:
        self._lock = threading.Lock()
        self._callbacks: list[Callable[..., None]] = []
        self.pairs = FramePairs(queue_size, tolerance_ns)
        for side, source in enumerate(fs):
            source.registerCallback(self._add, side)

    def registerCallback(self, callback: Callable[..., None]) -> None:  # noqa: N802 (message_filters' name)
        self._callbacks.append(callback)

    @property
    def queues(self) -> tuple[dict[int, Any], dict[int, Any]]:
        """The waiting messages of each side, by stamp."""
        return self.pairs.waiting

    def _add(self, message: Any, side: int) -> None:
        with self._lock:
            for pair in self.pairs.add(side, stamp_ns(message.header), message):
                for callback in self._callbacks:
                    callback(*pair)


class Join:
    """Call back with one message of each topic, all with the same stamp, until the node stops its inputs.

    Messages that never matched by the time the queue is full are counted as drops of the node's stage.

    :param topics: type, topic and QoS of each input; for a camera's pictures ``CameraPictures`` instead of a type.
    :param callback: function that is called with the messages in that order.
    :param queue_size: number of unmatched messages kept for each topic.
    :param on_first: function that is called with the stamp of each message of the first topic, as soon as it arrives.
    """

    def __init__(
        self,
        node: StvlaNode,
        topics: Sequence[tuple[Any, str, QoSProfile]],
        callback: Callable[..., None],
        queue_size: int,
        on_first: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._node = node
        self._callback = callback
        self._on_first = on_first
        self._names = [topic for _, topic, _ in topics]
        self._received = dict.fromkeys(self._names, 0)
        self._matched = 0
        self._counted = dict.fromkeys(self._names, 0)
        self._orders = {name: StampOrder() for name in self._names}
        self._subscribers: list[Any] = []
        for message_type, topic, qos in topics:
            subscriber = subscriber_to(node, message_type, topic, qos)
            # Registered before the synchronizer's own callback, so that counts never lag behind matches.
            subscriber.registerCallback(self._seen, topic, node.watch_input(topic))
            self._subscribers.append(subscriber)
        self._synchronizer = self._synchronize(queue_size)
        self._synchronizer.registerCallback(self._joined)
        node.on_stop_inputs(self.destroy)

    def _seen(self, message: Any, topic: str, watch: Any) -> None:
        watch.seen()
        self._count_drops()
        if topic == self._names[0]:
            self._node.stage.received()
            self._on_first(stamp_ns(message.header))
        if self._orders[topic].is_restart(stamp_ns(message.header)):
            # The synchronizer drops the smallest stamp first, so old messages would block the new ones. Each topic is
            # cleared by itself: the others may already have sent messages of the new time.
            self._synchronizer.queues[self._names.index(topic)].clear()
            self._count_drops()
        self._received[topic] += 1

    def _synchronize(self, queue_size: int) -> Any:
        return message_filters.TimeSynchronizer(self._subscribers, queue_size)

    def _joined(self, *messages: Any) -> None:
        self._matched += 1
        self._count_drops()
        try:
            self._callback(*messages)
        except Exception as error:  # message_filters would never release its lock
            self._node.survive(error)

    def _count_drops(self) -> None:
        for queue, name in zip(self._synchronizer.queues, self._names):
            missed = self._received[name] - self._matched - len(queue)
            if missed > self._counted[name]:
                self._node.stage.dropped(f"{name} without partner", missed - self._counted[name])
                self._counted[name] = missed

    def destroy(self) -> None:
        """Unsubscribe. Messages that wait for a partner are counted as dropped."""
        for subscriber in self._subscribers:
            self._node.destroy_subscription(subscriber.sub)
        for queue in self._synchronizer.queues:
            queue.clear()
        self._count_drops()


class FrameJoin(Join):
    """A :class:`Join` of a camera's pictures and depths, whose stamps may differ. If none belongs to another, or one of
    the two comes alone, a line reports it.

    :param topics: type, topic and QoS of pictures and of depths.
    :param tolerance_ns: largest difference of the stamps, see ``FramePairs``.
    """

    def __init__(
        self,
        node: StvlaNode,
        topics: Sequence[tuple[Any, str, QoSProfile]],
        callback: Callable[..., None],
        queue_size: int,
        tolerance_ns: int | None,
    ) -> None:
        self._tolerance_ns = tolerance_ns
        self._lone_since: float | None = None
        super().__init__(node, topics, callback, queue_size)

    def _synchronize(self, queue_size: int) -> Any:
        return NearSynchronizer(self._subscribers, queue_size, self._tolerance_ns)

    def _joined(self, *messages: Any) -> None:
        self._lone_since = None
        super()._joined(*messages)

    def _seen(self, message: Any, topic: str, watch: Any) -> None:
        super()._seen(message, topic, watch)
        pairs: FramePairs = self._synchronizer.pairs
        self._lone_since = self._lone_since or time.monotonic()
        if time.monotonic() - self._lone_since > LONE_S:
            topics = f"topics {' and '.join(self._names)}"
            if lone := pairs.lone():
                most = (pairs.tolerance_ns or 0) * 1e-6
                self._node.reject("pairs", f"{topics}: {lone}; expected at most {most:.1f} ms (sync_tolerance)")
            elif one_sided := pairs.one_sided():
                self._node.reject("pairs", f"{topics}: {one_sided} for more than {LONE_S:g} s")


def subscriber_to(node: StvlaNode, message_type: Any, topic: str, qos: QoSProfile) -> Any:
    """As message_filters' Subscriber. :param message_type: message class, or ``CameraPictures``."""
    if isinstance(message_type, CameraPictures):
        return PictureSubscriber(node, message_type, topic, qos)
    return message_filters.Subscriber(node, message_type, topic, qos_profile=qos)


def subscribe_to_pictures(
    node: StvlaNode, pictures: CameraPictures, qos: QoSProfile, take: Callable[[Image | CompressedImage], None]
) -> None:
    """Call ``take`` with each message of the topic ``image`` while the node is active."""
    watch = node.watch_input("image")
    subscriber = PictureSubscriber(node, pictures, "image", qos)

    def received(image: Image | CompressedImage) -> None:
        watch.seen()
        node.stage.received()
        take(image)

    subscriber.registerCallback(received)
    node.on_stop_inputs(lambda: node.destroy_subscription(subscriber.sub))


def subscribe_to_frames(
    node: StvlaNode,
    with_sensor_depth: bool,
    camera: Camera,
    window: int,
    submit: Callable[[tuple[Any, ...]], None],
) -> None:
    """Call ``submit`` with (image,) or (image, sensor_depth) of each frame while the node is active."""
    if with_sensor_depth:
        topics = [(camera.pictures, name, camera.qos) for name in ("image", "sensor_depth")]
        FrameJoin(node, topics, lambda *frame: submit(frame), window, camera.tolerance_ns)
    else:
        subscribe_to_pictures(node, camera.pictures, camera.qos, lambda image: submit((image,)))


Left = TypeVar("Left")
Right = TypeVar("Right")


class Pairing(Generic[Left, Right]):
    """Pairs items from two sides by equal stamps, in any order of arrival. Not thread-safe.

    :param size: number of unpaired items kept for each side.
    :param on_drop: function that is called with the name of the side whose oldest item is given up.
    """

    def __init__(self, left: str, right: str, size: int, on_drop: Callable[[str], None]) -> None:
        self._waiting: dict[str, dict[int, Any]] = {left: {}, right: {}}
        self._size = size
        self._on_drop = on_drop

    def add(self, side: str, stamp: int, item: Left | Right) -> tuple[Left, Right] | None:
        """:return: (left, right) when the other side's item was there already."""
        (other,) = self._waiting.keys() - {side}
        if stamp in self._waiting[other]:
            partner = self._waiting[other].pop(stamp)
            left, right = (item, partner) if side == next(iter(self._waiting)) else (partner, item)
            return cast(Left, left), cast(Right, right)
        waiting = self._waiting[side]
        waiting[stamp] = item
        if len(waiting) > self._size:
            # By arrival, not by stamp: after a jump back in time the old stamps are the larger ones.
            del waiting[next(iter(waiting))]
            self._on_drop(side)
        return None

    def clear(self) -> None:
        for waiting in self._waiting.values():
            waiting.clear()
