"""Tells when an input falls silent, and when it is back."""

import time

from rclpy.node import Node


class InputWatch:
    """Watches one topic of a node.

    :param timeout_s: seconds of silence after which the topic counts as missing.
    """

    def __init__(self, node: Node, topic: str, timeout_s: float) -> None:
        self._node = node
        self._topic = topic
        self._timeout_s = timeout_s
        self._last_seen = time.monotonic()
        self._missing = False

    def seen(self) -> None:
        """A message came."""
        self._last_seen = time.monotonic()
        if self._missing:
            self._missing = False
            self._node.get_logger().info(f"topic {self._topic}: messages again")

    def check(self) -> str | None:
        """One line for the diagnostics while the topic is silent. A topic without publishers also gets a line in the log, once."""
        silent_s = time.monotonic() - self._last_seen
        if silent_s < self._timeout_s:
            return None
        publishers = self._node.count_publishers(self._node.resolve_topic_name(self._topic))
        text = f"topic {self._topic}: no message for {silent_s:.1f} s ({publishers} publishers)"
        # A publisher that is there and silent is normal (a paused simulator); one that is gone deserves a line.
        if not self._missing and not publishers:
            self._missing = True
            self._node.get_logger().warning(text)
        return text
