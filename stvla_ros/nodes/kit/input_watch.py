"""Tells when an input falls silent and is back, and when more than one node publishes it."""

import time

from rclpy.node import Node

from stvla_ros.control.safety.exclusivity import ExclusiveTopic
from stvla_ros.nodes.kit.endpoints import node_of

# A graph comes up over some seconds (a simulator takes its time); before that, an input that was never there is no
# news.
START_UP_S = 20.0


class InputWatch:
    """Watches one topic of a node.

    :param timeout_s: seconds of silence after which the topic counts as missing.
    :param several: whether it may have several publishers.
    """

    def __init__(self, node: Node, topic: str, timeout_s: float, several: bool = False) -> None:
        self._node = node
        self._topic = topic
        resolved = node.resolve_topic_name(topic)
        self._label = topic if resolved == f"/{topic}" else f"{topic} ({resolved})"
        self._timeout_s = timeout_s
        self._was_seen = False
        self._last_seen = time.monotonic()
        self._missing = False
        # Time at which it was first found without a publisher.
        self._gone_since: float | None = None
        self._exclusive = None if several else ExclusiveTopic(resolved)
        self._contended = False

    def seen(self) -> None:
        """A message came."""
        self._last_seen = time.monotonic()
        self._was_seen = True
        if self._missing:
            self._missing = False
            self._node.get_logger().info(f"topic {self._label}: messages again")

    def check(self) -> str | None:
        """One line for the diagnostics while the topic is silent, or has publishers that contradict each other. A topic
        without publishers, or with too many, also gets a line in the log, once.
        """
        return self._contention() or self._silence()

    def _contention(self) -> str | None:
        """Where two nodes publish: a joined picture may be one's and its depth the other's."""
        if self._exclusive is None:
            return None
        publishers = self._node.get_publishers_info_by_topic(self._node.resolve_topic_name(self._topic))
        # One who was killed and came back is listed twice for a while.
        found = self._exclusive.look([node_of(each) for each in publishers], time.monotonic())
        if found.certain and not self._contended:
            self._node.get_logger().warning(found.holds)
        self._contended = found.certain
        return found.holds if found.certain else None

    def _silence(self) -> str | None:
        silent_s = time.monotonic() - self._last_seen
        if silent_s < self._timeout_s:
            return None
        publishers = self._node.count_publishers(self._node.resolve_topic_name(self._topic))
        text = f"topic {self._label}: no message for {silent_s:.1f} s ({publishers} publishers)"
        # A publisher that is there and silent is normal (a paused simulator). One that is gone deserves a line, unless
        # the whole graph is ending.
        if publishers:
            self._gone_since = None
        elif self._gone_since is None:
            self._gone_since = time.monotonic()
        gone = self._gone_since is not None and time.monotonic() - self._gone_since >= self._timeout_s
        if not self._missing and gone and (self._was_seen or silent_s > START_UP_S):
            self._missing = True
            self._node.get_logger().warning(text)
        return text
