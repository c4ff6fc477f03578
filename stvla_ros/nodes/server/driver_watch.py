"""Watches the robot's driver: whether it takes commands, and why it has stopped the arm for good."""

from collections.abc import Callable

from stvla_ros.control.safety.latch import CAUSES
from stvla_ros.msg import DriverState
from stvla_ros.nodes.kit.base import STATE_QOS, StvlaNode

# Phases that end a goal beside a closed latch: a driver that was deactivated continues by itself when it is active
# again, but its goals do not.
_DEACTIVATED = "driver"


def stops(state: DriverState) -> str:
    """The reason why the arm is stopped so that no goal can continue, for a person; empty when it is not."""
    reasons = [reason for reason in state.held_by if reason in CAUSES or reason == _DEACTIVATED]
    if not reasons:
        return ""
    return ", ".join(reasons) + (f" ({state.detail})" if state.detail else "")


class DriverWatch:
    """
    :param node: node; ``on_stop`` takes its lock, if it has one.
    :param on_stop: function that is called in the executor's thread with the reason of the stop, repeatedly while the
        arm is stopped.
    """

    def __init__(self, node: StvlaNode, on_stop: Callable[[str], None]) -> None:
        self._node, self._on_stop = node, on_stop
        # The reason of the stop; empty when there is none, or when no driver was ever heard.
        self.stopped = ""
        # Whether there is a driver that judges commands; a simulator's bridge does not.
        self.heard = False

    def subscribe(self) -> None:
        """Call this from the node's ``activate``."""
        self.stopped, self.heard = "", False
        self._node.subscribe(DriverState, "driver_state", self._on_state, STATE_QOS, watched=False)

    def _on_state(self, state: DriverState) -> None:
        self.heard = True
        self.stopped = stops(state)
        if self.stopped:
            self._on_stop(self.stopped)
