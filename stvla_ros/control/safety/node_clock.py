"""The clock that stamps observations, compared with the machine's clock that only runs forwards.

An arm moves in the machine's time. A clock that stands still, jumps, or runs at another speed would make old
observations look fresh. So ages are measured by the steady clock: from the moment at which the node's clock showed the
stamp.
"""

from bisect import bisect_left
from collections import deque

# Largest difference in seconds from the machine's clock between two looks, largest step back, and longest standstill;
# beyond these the clock is at fault.
JUMP_S = 0.5
BACK_S = 0.1
STANDING_S = 0.5
# A machine's clock that is being adjusted runs at most 10 % too fast or too slow (chrony's and ntpd's greatest slew).
RATE_TOLERANCE = 0.2
_RATE_WINDOW_S = 2.0
# Nobody asks for older stamps: the ceiling of the limit observation_age is 5 s.
_HISTORY_S = 10.0


class NodeClock:
    """
    :param own_time: whether the clock is that of a recording or a simulator (``use_sim_time``), which may run at any
        speed; the machine's may not.
    """

    def __init__(self, own_time: bool) -> None:
        self._own_time = own_time
        # Pairs of the node clock's and the steady clock's time, at the first sight of each; both only rise.
        self._shown: deque[int] = deque()
        self._steady: deque[int] = deque()
        self._last: tuple[int, int] | None = None
        self._window: deque[tuple[int, int]] = deque()
        self._wrong_rate = ""
        self.fault = ""
        """The clock's fault since the last look, as text for a person; empty when there is none."""
        self.jumped = False
        """Whether this fault is a jump: stamps before and after it cannot be compared."""

    def look(self, clock_ns: int, steady_ns: int) -> None:
        """Call this at each tick.

        :param clock_ns: time of the watched clock.
        :param steady_ns: time of the machine's clock, which only runs forwards.
        """
        self._note(clock_ns, steady_ns)
        jump = self._jump(clock_ns, steady_ns)
        self.jumped = bool(jump)
        self.fault = jump or self._standing(steady_ns) or self._rate(clock_ns, steady_ns)
        self._last = clock_ns, steady_ns

    def taken_ns(self, stamp_ns: int, clock_ns: int, steady_ns: int) -> int:
        """The time at which an observation with this stamp was made, by the steady clock: the earlier one of the moment
        at which the clock showed the stamp, and the moment that its age by the clock gives.

        :param clock_ns, steady_ns: present times of the two clocks.
        """
        self._note(clock_ns, steady_ns)
        by_clock = steady_ns - (clock_ns - stamp_ns)
        number = bisect_left(self._shown, stamp_ns)
        if number in (0, len(self._shown)):
            # The stamp is older than everything seen, or in the future.
            edge = 0 if number == 0 else -1
            return min(by_clock, self._steady[edge] - (self._shown[edge] - stamp_ns))
        before, after = self._shown[number - 1], self._shown[number]
        share = (stamp_ns - before) / (after - before)
        shown = self._steady[number - 1] + round(share * (self._steady[number] - self._steady[number - 1]))
        return min(by_clock, shown)

    def _note(self, clock_ns: int, steady_ns: int) -> None:
        if self._shown and clock_ns < self._shown[-1] - BACK_S * 1e9:
            # It was set back, and its earlier times belong to another count.
            self._shown.clear()
            self._steady.clear()
        if not self._shown or clock_ns > self._shown[-1]:
            self._shown.append(clock_ns)
            self._steady.append(steady_ns)
        while len(self._steady) > 1 and steady_ns - self._steady[1] > _HISTORY_S * 1e9:
            self._shown.popleft()
            self._steady.popleft()

    def _jump(self, clock_ns: int, steady_ns: int) -> str:
        if self._last is None:
            return ""
        way_s = (clock_ns - self._last[0]) * 1e-9
        jump_s = way_s - (steady_ns - self._last[1]) * 1e-9
        if abs(jump_s) <= JUMP_S and way_s >= -BACK_S:
            return ""
        self._window.clear()
        return f"the clock jumped by {jump_s:.3g} s"

    def _standing(self, steady_ns: int) -> str:
        standing_s = (steady_ns - self._steady[-1]) * 1e-9
        if standing_s <= STANDING_S:
            return ""
        source = "nobody publishes /clock, or it stands" if self._own_time else "the machine's clock"
        return f"the clock stands still for more than {STANDING_S:g} s ({source})"

    def _rate(self, clock_ns: int, steady_ns: int) -> str:
        if self._own_time:
            return ""
        self._window.append((clock_ns, steady_ns))
        while len(self._window) > 1 and steady_ns - self._window[1][1] >= _RATE_WINDOW_S * 1e9:
            self._window.popleft()
        clock, steady = self._window[0]
        if steady_ns - steady >= _RATE_WINDOW_S * 1e9:
            rate = (clock_ns - clock) / (steady_ns - steady)
            wrong = abs(rate - 1.0) > RATE_TOLERANCE
            self._wrong_rate = f"the machine's clock runs at {rate:.2g} times its speed" if wrong else ""
        return self._wrong_rate
