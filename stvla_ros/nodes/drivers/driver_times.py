"""A driver's times: the age of observations, faults of the clock, and late setpoints."""

import time
from typing import Any

from stvla_ros.control.safety.node_clock import NodeClock
from stvla_ros.control.safety.requests import Observed
from stvla_ros.control.safety.watches import LateTicks
from stvla_ros.nodes.kit.base import StvlaNode


class DriverTimes:
    """Used under the driver's lock.

    :param node: node that declares the parameter, and has the clock that stamps observations.
    :param tick_s: time between two setpoints.
    """

    def __init__(self, node: StvlaNode, tick_s: float) -> None:
        self._node = node
        most = node.parameter(
            "late_ticks",
            3,
            "setpoints of the last 20 that may leave more than two periods late before the arm is stopped; 0: any "
            "number, for robots that are none",
            low=0,
            high=20,
        )
        self._late = LateTicks(tick_s, most)
        self.reset()

    def reset(self) -> None:
        """Call this from the node's ``activate``."""
        self._clock = NodeClock(own_time=bool(self._node.get_parameter("use_sim_time").value))
        self._late.reset()
        self._begun: float | None = None

    @property
    def now_ns(self) -> int:
        """The present time of the safety gate's clock: the machine's, which only runs forwards."""
        return time.monotonic_ns()

    def observed(self, stamp_ns: int) -> Observed:
        """The observation with this stamp."""
        return Observed(stamp_ns, self._clock.taken_ns(stamp_ns, self._node.now_ns(), self.now_ns))

    def clock_fault(self) -> str:
        """Call this at each tick. :returns: the fault of the node's clock; empty when there is none."""
        self._clock.look(self._node.now_ns(), self.now_ns)
        return self._clock.fault

    @property
    def clock_jumped(self) -> bool:
        """Whether this fault is a jump."""
        return self._clock.jumped

    def begin_tick(self) -> float:
        """Call this first at each tick. :returns: seconds since the tick before began; 0 at the first."""
        before, self._begun = self._begun, time.monotonic()
        return 0.0 if before is None else self._begun - before

    def ticked(self, sent: bool) -> str:
        """Call this at the end of each tick.

        :param sent: whether a setpoint left.
        :returns: reason why the arm must stop; empty when it need not.
        """
        if sent:
            return self._late.left(time.monotonic())
        self._late.reset()
        return ""

    def figures(self) -> dict[str, Any]:
        """Figures for the diagnostics: setpoints that left late since the start, and the lateness of the last 1000."""
        p99, worst = self._late.quantiles_ms()
        lateness = {"tick_lateness_p99_ms": round(p99, 2), "tick_lateness_worst_ms": round(worst, 2)}
        return {"late_ticks": self._late.count, **lateness}
