"""What the robot's driver says: whether it takes commands, and what stopped the arm for good."""

from collections.abc import Callable

from stvla_ros.control.safety.latch import CAUSES
from stvla_ros.msg import DriverState
from stvla_ros.nodes.kit.base import STATE_QOS, StvlaNode

# Beside what latched: a driver that was deactivated goes on by itself when it is active again, but not its goals.
_DEACTIVATED = "driver"


def stops(state: DriverState) -> str:
    """What stopped the arm so that no goal goes on, for a person; empty when nothing did."""
    reasons = [reason for reason in state.held_by if reason in CAUSES or reason == _DEACTIVATED]
    if not reasons:
        return ""
    return ", ".join(reasons) + (f" ({state.detail})" if state.detail else "")


class DriverWatch:
    """
    :param node: whose lock, if it has one, ``on_stop`` takes.
    :param on_stop: called in the executor's thread with what stopped the arm, again and again while it is stopped.
    """

    def __init__(self, node: StvlaNode, on_stop: Callable[[str], None]) -> None:
        self._node, self._on_stop = node, on_stop
        # What stopped the arm; empty when nothing did, or no driver was ever heard.
        self.stopped = ""
        # Whether there is a driver, by which commands are judged: a simulator's bridge says nothing of them.
        self.heard = False

    def subscribe(self) -> None:
        """To be called from the node's ``activate``."""
        self.stopped, self.heard = "", False
        self._node.subscribe(DriverState, "driver_state", self._on_state, STATE_QOS, watched=False)

    def _on_state(self, state: DriverState) -> None:
        self.heard = True
        self.stopped = stops(state)
        if self.stopped:
            self._on_stop(self.stopped)
