"""Whether anybody who may have sent a goal is still there."""

from collections.abc import Iterable

from rclpy.node import Node

# A goal may arrive before its client's subscription is discovered, seconds.
_DISCOVERY_S = 1.0

Gid = tuple[int, ...]


def action_clients(node: Node, action: str) -> set[Gid]:
    """The clients of an action, by the subscription to its feedback that each one has; in another process it has
    another gid, also where its node has the same name.
    """
    topic = node.resolve_topic_name(f"{action}/_action/feedback")
    return {tuple(each.endpoint_gid) for each in node.get_subscriptions_info_by_topic(topic)}


class GoalCallers:
    """Of one goal. rclpy does not tell which client sent it, so all that there were at its begin are meant: as long as
    one of them is there, the goal has a caller.

    :param now: when the goal began, seconds of a steady clock.
    """

    def __init__(self, now: float) -> None:
        self._until = now + _DISCOVERY_S
        self._callers: set[Gid] = set()
        self._gone_at: float | None = None

    def gone_s(self, clients: Iterable[Gid], now: float) -> float:
        """
        :param clients: that there are now.
        :returns: for how many seconds none of them was a caller; 0 when one is.
        """
        here = set(clients)
        # On a busy machine the first look, and the discovery, may come later: then whoever is seen first.
        if now <= self._until or not self._callers:
            self._callers |= here
        if self._callers & here:
            self._gone_at = None
            return 0.0
        # From the first look on that missed them: between two looks anything may have been.
        self._gone_at = now if self._gone_at is None else self._gone_at
        return now - self._gone_at
