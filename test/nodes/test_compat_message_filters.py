"""What this package relies on in message_filters. Passes against the fallback and the distribution's package."""

import time
from collections.abc import Iterator

import pytest
import rclpy
from hypothesis import given
from hypothesis import strategies as st
from probe import shut_down
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import CameraInfo
from std_msgs.msg import Header

from stvla_ros.nodes.kit.compat import message_filters


def message(stamp: int, frame_id: str = "") -> CameraInfo:
    header = Header(frame_id=frame_id)
    header.stamp.sec, header.stamp.nanosec = divmod(stamp, 1_000_000_000)
    return CameraInfo(header=header)


def stamp_of(msg: CameraInfo) -> int:
    return msg.header.stamp.sec * 1_000_000_000 + msg.header.stamp.nanosec


class Join:
    """A TimeSynchronizer over `inputs` plain filters, and the sets that it emitted."""

    def __init__(self, inputs: int, queue_size: int) -> None:
        self.filters = [message_filters.SimpleFilter() for _ in range(inputs)]
        self.emitted: list[tuple[CameraInfo, ...]] = []
        self.synchronizer = message_filters.TimeSynchronizer(self.filters, queue_size)
        self.synchronizer.registerCallback(lambda *messages: self.emitted.append(messages))

    def put(self, index: int, stamp: int, frame_id: str = "") -> None:
        self.filters[index].signalMessage(message(stamp, frame_id))

    def stamps(self) -> list[int]:
        return [stamp_of(messages[0]) for messages in self.emitted]


def test_a_filter_hands_messages_and_extra_arguments_to_every_callback_in_order() -> None:
    calls: list[tuple] = []
    source = message_filters.SimpleFilter()
    assert source.registerCallback(lambda *args: calls.append(("first", *args)), 1, 2) == 0
    assert source.registerCallback(lambda *args: calls.append(("second", *args))) == 1
    source.signalMessage("a", "b")
    assert calls == [("first", "a", "b", 1, 2), ("second", "a", "b")]


def test_a_set_is_emitted_in_the_order_of_the_inputs_when_its_last_message_arrives() -> None:
    join = Join(inputs=3, queue_size=5)
    join.put(2, 100, "c")
    join.put(0, 100, "a")
    assert join.emitted == []
    join.put(1, 100, "b")
    assert [[m.header.frame_id for m in messages] for messages in join.emitted] == [["a", "b", "c"]]


def test_stamps_one_nanosecond_apart_are_not_joined() -> None:
    join = Join(inputs=2, queue_size=5)
    join.put(0, 1_700_000_000_123_456_789)
    join.put(1, 1_700_000_000_123_456_788)
    assert join.emitted == []
    join.put(1, 1_700_000_000_123_456_789)
    assert join.stamps() == [1_700_000_000_123_456_789]


def test_a_set_is_emitted_once() -> None:
    join = Join(inputs=2, queue_size=5)
    for index in (0, 1, 1):
        join.put(index, 7)
    assert join.stamps() == [7]


def test_a_full_queue_drops_the_oldest_stamp() -> None:
    join = Join(inputs=2, queue_size=2)
    for stamp in (10, 30, 20):
        join.put(0, stamp)
    for stamp in (10, 20, 30):
        join.put(1, stamp)
    assert join.stamps() == [20, 30]


def test_a_second_message_with_the_same_stamp_replaces_the_first() -> None:
    join = Join(inputs=2, queue_size=2)
    join.put(0, 5, "old")
    join.put(0, 5, "new")
    join.put(1, 5)
    assert join.emitted[0][0].header.frame_id == "new"


@given(st.permutations([(index, stamp) for index in range(3) for stamp in range(5)]))
def test_every_stamp_is_joined_whatever_the_order_of_arrival_while_the_queue_suffices(order: list) -> None:
    join = Join(inputs=3, queue_size=5)
    for index, stamp in order:
        join.put(index, stamp)
    assert sorted(join.stamps()) == [0, 1, 2, 3, 4]
    assert all(len({stamp_of(m) for m in messages}) == 1 for messages in join.emitted)


@pytest.fixture
def node() -> Iterator[Node]:
    rclpy.init()
    try:
        yield rclpy.create_node("compat_message_filters")
    finally:
        shut_down()


def spin(node: Node, until, timeout_s: float = 60.0) -> None:
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    end = time.monotonic() + timeout_s
    while not until() and time.monotonic() < end:
        executor.spin_once(timeout_sec=0.05)


def test_subscribers_join_two_live_topics(node: Node) -> None:
    inputs = [message_filters.Subscriber(node, CameraInfo, topic, qos_profile=10) for topic in ("left", "right")]
    joined: list[int] = []
    synchronizer = message_filters.TimeSynchronizer(inputs, 10)
    synchronizer.registerCallback(lambda left, right: joined.append(stamp_of(left)))
    publishers = [node.create_publisher(CameraInfo, topic, 10) for topic in ("left", "right")]
    spin(node, lambda: all(publisher.get_subscription_count() for publisher in publishers))
    for stamp in (1, 2, 3):
        publishers[0].publish(message(stamp))
    for stamp in (2, 3, 4):
        publishers[1].publish(message(stamp))
    spin(node, lambda: len(joined) >= 2)
    assert joined == [2, 3]


def test_a_subscriber_keeps_its_topic_its_qos_and_serves_the_subscription(node: Node) -> None:
    latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    subscriber = message_filters.Subscriber(node, CameraInfo, "info", qos_profile=latched)
    assert subscriber.getTopic() == "info"
    assert subscriber.topic_name == "/info"
    assert subscriber.qos_profile.durability == DurabilityPolicy.TRANSIENT_LOCAL
    node.destroy_subscription(subscriber.sub)
    assert node.count_subscribers("/info") == 0
