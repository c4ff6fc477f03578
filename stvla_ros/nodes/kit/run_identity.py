"""Which run a node belongs to, and what it hears of another one."""

from stvla_ros.nodes.kit.lifecycle import ManagedNode

# Under which what another run said is counted.
FOREIGN = "of another run"
# Nonsense on a topic must not fill the memory.
_MOST_TOLD = 64


class RunIdentity:
    """Of one node. Runs are told apart where both sides name theirs; who names none speaks for no run in particular.

    :param node: counts and reports what is foreign.
    :param name: name of the node's run; if empty, runs are not told apart.
    """

    def __init__(self, node: ManagedNode, name: str) -> None:
        self._node = node
        self.name = name
        self._told: set[tuple[str, str]] = set()

    def is_foreign(self, run: str, what: str) -> bool:
        """Whether another run says this; it is counted, and each run is named once for each topic.

        :param run: name of the run in the message.
        :param what: topic or action that it came by.
        """
        if not self.name or run in ("", self.name):
            return False
        self._node.stage.dropped(f"{what} {FOREIGN}")
        if (what, run) not in self._told and len(self._told) < _MOST_TOLD:
            self._told.add((what, run))
            self._node.get_logger().warning(
                f"{what}: ignored, of another run in this ROS domain, {run}; this one is {self.name}. Give one of them "
                "another ROS_DOMAIN_ID or namespace"
            )
        return True
