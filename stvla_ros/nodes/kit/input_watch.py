"""Tells when an input falls silent, and when it is back."""

import time

from rclpy.node import Node

# A graph comes up over some seconds (a simulator takes its time); before that, an input that was never there is no
# news.
START_UP_S = 20.0


class InputWatch:
    """Watches one topic of a node.

    :param timeout_s: seconds of silence after which the topic counts as missing.
    """

    def __init__(self, node: Node, topic: str, timeout_s: float) -> None:
        self._node = node
        self._topic = topic
        resolved = node.resolve_topic_name(topic)
        self._label = topic if resolved == f"/{topic}" else f"{topic} ({resolved})"
        self._timeout_s = timeout_s
        self._was_seen = False
        self._last_seen = time.monotonic()
        self._missing = False
        # When it was first found without a publisher.
        self._gone_since: float | None = None

    def seen(self) -> None:
        """A message came."""
        self._last_seen = time.monotonic()
        self._was_seen = True
        if self._missing:
            self._missing = False
            self._node.get_logger().info(f"topic {self._label}: messages again")

    def check(self) -> str | None:
        """One line for the diagnostics while the topic is silent. A topic without publishers also gets a line in the
        log, once.
        """
        silent_s = time.monotonic() - self._last_seen
        if silent_s < self._timeout_s:
            return None
        publishers = self._node.count_publishers(self._node.resolve_topic_name(self._topic))
        text = f"topic {self._label}: no message for {silent_s:.1f} s ({publishers} publishers)"
        # A publisher that is there and silent is normal (a paused simulator); one that is gone deserves a line, unless
        # it went because the whole graph ends.
        if publishers:
            self._gone_since = None
        elif self._gone_since is None:
            self._gone_since = time.monotonic()
        gone = self._gone_since is not None and time.monotonic() - self._gone_since >= self._timeout_s
        if not self._missing and gone and (self._was_seen or silent_s > START_UP_S):
            self._missing = True
            self._node.get_logger().warning(text)
        return text
