"""Fallback for the ROS package `message_filters`: Subscriber, SimpleFilter and TimeSynchronizer."""

import threading
from collections.abc import Callable, Sequence
from typing import Any

from rclpy.node import Node


class SimpleFilter:
    """A source of messages that calls the registered callbacks."""

    def __init__(self) -> None:
        self.callbacks: dict[int, tuple[Callable, tuple]] = {}

    def registerCallback(self, cb: Callable, *args: Any) -> int:  # noqa: N802 (the real package's name)
        """Call `cb(*messages, *args)` for each output.

        :return: the number of this connection.
        """
        connection = len(self.callbacks)
        self.callbacks[connection] = (cb, args)
        return connection

    def signalMessage(self, *msg: Any) -> None:  # noqa: N802
        """Pass `msg` to every registered callback, in the order of registration."""
        for cb, args in self.callbacks.values():
            cb(*msg, *args)


class Subscriber(SimpleFilter):
    """A subscription as the source of a chain of filters.

    :param node: rclpy node that owns the subscription.
    :param msg_type: message class.
    :param topic: topic name.
    :param qos_profile: QoSProfile, or a queue depth.
    :param kwargs: further arguments of `node.create_subscription`.
    """

    def __init__(self, node: Node, msg_type: type, topic: str, *, qos_profile: Any = 10, **kwargs: Any) -> None:
        super().__init__()
        self.node = node
        self.topic = topic
        self.sub = node.create_subscription(msg_type, topic, self.callback, qos_profile=qos_profile, **kwargs)

    def callback(self, msg: Any) -> None:
        self.signalMessage(msg)

    def getTopic(self) -> str:  # noqa: N802
        return self.topic

    def __getattr__(self, key: str) -> Any:
        if key == "sub":  # not created yet: looking it up on itself would recurse without end
            raise AttributeError(key)
        return getattr(self.sub, key)


class TimeSynchronizer(SimpleFilter):
    """Emits one message of each input, in the inputs' order, as soon as all of them arrived with the same header stamp.

    Each input keeps its newest `queue_size` stamps that wait for a partner; the oldest stamp is dropped first, whatever
    the order of arrival. A second message with the same stamp replaces the first.

    :param fs: input filters.
    :param queue_size: number of stamps that are kept for each input.
    """

    def __init__(self, fs: Sequence[SimpleFilter], queue_size: int) -> None:
        super().__init__()
        self.queue_size = queue_size
        self.lock = threading.Lock()
        self.connectInput(fs)

    def connectInput(self, fs: Sequence[SimpleFilter]) -> None:  # noqa: N802
        self.queues: list[dict[int, Any]] = [{} for _ in fs]
        self.input_connections = [
            f.registerCallback(self.add, queue, index) for index, (f, queue) in enumerate(zip(fs, self.queues))
        ]

    def add(self, msg: Any, my_queue: dict[int, Any], my_queue_index: int | None = None) -> None:
        """Take one message into `my_queue` and emit every set that it completes, oldest first."""
        stamp = msg.header.stamp
        with self.lock:
            my_queue[stamp.sec * 1_000_000_000 + stamp.nanosec] = msg
            while len(my_queue) > self.queue_size:
                del my_queue[min(my_queue)]
            complete = set.intersection(*map(set, self.queues))
            for nanoseconds in sorted(complete):
                self.signalMessage(*[queue.pop(nanoseconds) for queue in self.queues])
