"""The nodes that must listen before the first observation is published.

A recorder that starts later than the simulator or the replay would miss the beginning, or even all of a short episode.
"""

import threading
import time
from collections import defaultdict

from stvla_ros.errors import InputError
from stvla_ros.nodes.kit.base import StvlaNode

_POLL_PERIOD_S = 0.05


class AwaitedSubscribers:
    """Make it in the node's ``__init__``: it declares the parameter ``awaited_subscribers``."""

    def __init__(self, node: StvlaNode) -> None:
        pairs = node.parameter(
            "awaited_subscribers", [""], "nodes to wait for before the first observation, each with a topic: NODE TOPIC"
        )
        self._node = node
        self._awaited: dict[str, set[str]] = defaultdict(set)
        for pair in filter(None, pairs):
            name, _, topic = pair.partition(" ")
            if not name or not topic or " " in topic:
                raise InputError(
                    f"parameter awaited_subscribers: expected NODE TOPIC, like bag_recorder image, got {pair!r}"
                )
            self._awaited[topic].add(name)

    def missing(self) -> list[str]:
        """The awaited subscribers that are not there yet, as text."""
        found = []
        for topic, names in self._awaited.items():
            there = self._node.get_subscriptions_info_by_topic(self._node.resolve_topic_name(topic))
            found += [f"{name} on topic {topic}" for name in sorted(names - {each.node_name for each in there})]
        return found

    def wait(self, stopping: threading.Event, within_s: float) -> str:
        """Wait until all are there, or until the stop.

        :returns: missing subscribers as text; empty when all came in time.
        """
        give_up_at = time.monotonic() + within_s
        while missing := ", ".join(self.missing()):
            self._node.get_logger().info(f"waiting for {missing}", throttle_duration_sec=10.0)
            if stopping.wait(_POLL_PERIOD_S):
                return ""
            if time.monotonic() > give_up_at:
                return missing
        return ""
