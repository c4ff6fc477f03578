"""Tells whether any client that may have sent a goal is still there."""

from collections.abc import Iterable

from rclpy.node import Node

# Time within which a goal may arrive before its client's subscription is discovered, seconds.
_DISCOVERY_S = 1.0

Gid = tuple[int, ...]


def action_clients(node: Node, action: str) -> set[Gid]:
    """The clients of an action, recognised by their subscriptions to the feedback. In another process a client has
    another gid, even if its node has the same name.
    """
    topic = node.resolve_topic_name(f"{action}/_action/feedback")
    return {tuple(each.endpoint_gid) for each in node.get_subscriptions_info_by_topic(topic)}


class GoalCallers:
    """The possible callers of one goal. rclpy does not tell which client sent it, so all clients at its beginning
    count: while one of them is there, the goal has a caller.

    :param now: begin of the goal, seconds of a steady clock.
    """

    def __init__(self, now: float) -> None:
        self._until = now + _DISCOVERY_S
        self._callers: set[Gid] = set()
        self._gone_at: float | None = None

    def gone_s(self, clients: Iterable[Gid], now: float) -> float:
        """
        :param clients: clients that there are now.
        :returns: seconds for which none of them was a possible caller; 0 when one is.
        """
        here = set(clients)
        # On a busy machine the first look, and the discovery, may come later: then the first clients seen count.
        if now <= self._until or not self._callers:
            self._callers |= here
        if self._callers & here:
            self._gone_at = None
            return 0.0
        # Counted from the first look that missed them: between two looks they may have been there.
        self._gone_at = now if self._gone_at is None else self._gone_at
        return now - self._gone_at
