"""Plays a sequence of events on a safety gate, as a driver would, and keeps all outputs."""

import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from stvla_ros.control.actions import EndEffectorAction
from stvla_ros.control.safety.gate import SafetyGate
from stvla_ros.control.safety.requests import Observed, TooLate, Verdict
from stvla_ros.errors import InputError

# The kind of the event and its arguments; see Player.play.
Event = tuple[Any, ...]
# Number of ticks for which the arm may move after a sequence.
MOST_TICKS_TO_REST = 1500


@dataclass(frozen=True, eq=False)
class Played:
    """All outputs of a sequence, tick by tick (t ticks).

    :param tick_s, period_s: duration of a tick, and of a control period, seconds.
    :param positions: (t, n) setpoints.
    :param openings: (t,) openings of the gripper; NaN if it was left alone.
    :param segments: (t,) number of the start from a measured position that each tick follows. Setpoints may jump there.
    :param free: (t,) whether the arm follows a motion by joints, which may leave the workspace, or was measured
        outside.
    :param stops: number of ticks from each stop to rest, and the tick at which it was asked for.
    :param leads: ticks of each executed command: the one at which it came, and the last one before something else was
        asked for.
    :param verdicts: number of verdicts, by their first word.
    """

    tick_s: float
    period_s: float
    positions: np.ndarray
    openings: np.ndarray
    segments: np.ndarray
    free: np.ndarray
    stops: list[tuple[int, int]]
    leads: list[tuple[int, int]]
    verdicts: Counter[str]

    def parts(self) -> list[slice]:
        """The segments: runs of ticks within which nothing may jump."""
        edges = [0, *(np.flatnonzero(np.diff(self.segments)) + 1), len(self.segments)]
        return [slice(int(first), int(last)) for first, last in itertools.pairwise(edges)]


class Player:
    """
    :param gate: safety gate, started, at rest at ``ready`` at time 0.
    :param ready: (n,) position at the start.
    """

    def __init__(self, gate: SafetyGate, ready: np.ndarray, tick_s: float, period_s: float) -> None:
        self.gate, self._ready, self._tick_s, self._period_s = gate, ready, tick_s, period_s
        self.now = 0
        self._positions: list[np.ndarray] = []
        self._openings: list[float] = []
        self._segments: list[int] = []
        self._frees: list[bool] = []
        self._segment, self._free = 0, True
        self._stopping_since: int | None = None
        self._stops: list[tuple[int, int]] = []
        self._leads: list[tuple[int, int]] = []
        self._leading: int | None = None
        self._verdicts: Counter[str] = Counter()
        # The first setpoints have the rates of an arm at rest.
        self._tick(4)
        self._free = False

    def play(self, events: Sequence[Event]) -> None:
        """In turn:

        * ``command``, translation, rotation, gripper: one, and three ticks,
        * ``drive``, translation, rotation, gripper, count: the same command at the control rate,
        * ``slowly``, translation, rotation, gripper, lead, events: planned while they happen,
        * ``way``, change of the joints, events: a way by joints, planned while they happen,
        * ``yield``, change of the joints, whether within the workspace: lead the setpoints there,
        * ``ticks``, count,
        * ``inhibit``, reason; ``release``, reason; ``held``, reason, count: said anew at each tick,
        * ``restart``, change of the joints: the arm is lost, comes to rest, and is found a little elsewhere,
        * ``hand``, whether: the gripper is told to open, or left alone.
        """
        for kind, *rest in events:
            getattr(self, f"_{kind}")(*rest)

    def end(self) -> Played:
        """Let the arm come to rest."""
        for _ in range(MOST_TICKS_TO_REST):
            if not self.gate.moving:
                break
            self._tick(1)
        self._tick(4)
        self._ends_lead()
        return Played(
            self._tick_s,
            self._period_s,
            np.stack(self._positions),
            np.array(self._openings),
            np.array(self._segments),
            np.array(self._frees),
            self._stops,
            self._leads,
            self._verdicts,
        )

    # --- events -------------------------------------------------------------------------------------------------------

    def _command(self, translation: Sequence[float], rotation: Sequence[float], gripper: float) -> None:
        self._slowly(translation, rotation, gripper, 0, ())
        self._tick(3)

    def _drive(self, translation: Sequence[float], rotation: Sequence[float], gripper: float, count: int) -> None:
        for _ in range(count):
            self._slowly(translation, rotation, gripper, 0, ())
            self._tick(round(self._period_s / self._tick_s))

    def _slowly(
        self,
        translation: Sequence[float],
        rotation: Sequence[float],
        gripper: float,
        lead: int,
        meanwhile: Sequence[Event],
    ) -> None:
        action = EndEffectorAction(np.array(translation, float), np.array(rotation, float), min(max(gripper, 0.0), 1.0))
        began, generation = len(self._positions), self._segment
        request = self.gate.prepare(action, Observed(self.now, self.now), self.now, lead)
        self.play(meanwhile)
        try:
            verdict = self.gate.accept(self.gate.plan(request), self.now)
        except TooLate:
            verdict = Verdict(False, refused="too late: it was")
        self._verdicts["executed" if verdict.executed else verdict.refused.partition(":")[0]] += 1
        if verdict.executed:
            self._ends_lead()
            self._leading = began if generation == self._segment else None
            self._stopping_since, self._free = None, False

    def _way(self, change: Sequence[float], meanwhile: Sequence[Event]) -> None:
        try:
            departure = self.gate.prepare_way()
            motion = self.gate.plan_way(self.gate.position + np.array(change), departure)
            self.play(meanwhile)
            self.gate.accept_way(departure, motion, self.now)
        except InputError:  # held, refused, overtaken
            return
        self._ends_lead()
        self._stopping_since, self._free = None, True

    def _yield(self, change: Sequence[float], in_workspace: bool) -> None:
        try:
            self.gate.inhibit("tracking")
            self.gate.yield_to(self.gate.position + np.array(change), in_workspace)
        except InputError:
            return
        self._ends_lead()
        self._stopping_since, self._free = None, not in_workspace

    def _ticks(self, count: int) -> None:
        self._tick(count)

    def _inhibit(self, reason: Any) -> None:
        self.gate.inhibit(reason)
        self._ends_lead()
        if self._stopping_since is None and self.gate.moving:
            self._stopping_since = len(self._positions)

    def _release(self, reason: Any) -> None:
        self.gate.release(reason, self.now)

    def _held(self, reason: Any, count: int) -> None:
        for _ in range(count):
            self._inhibit(reason)
            self._tick(1)

    def _restart(self, change: Sequence[float]) -> None:
        self._inhibit("not started")
        for _ in range(MOST_TICKS_TO_REST):
            if not self.gate.moving:
                break
            self._tick(1)
        try:
            self.gate.start(self.gate.position + np.array(change), 0.5, self.now)
        except InputError:
            self.gate.start(self._ready, 0.5, self.now)
        self._stopping_since, self._free = None, True
        self._segment += 1
        self._tick(4)
        self._free = False

    def _hand(self, opens: bool) -> None:
        if opens:
            self.gate.release_gripper()
        else:
            self.gate.leave_gripper()

    # --- ticks --------------------------------------------------------------------------------------------------------

    def _tick(self, count: int) -> None:
        for _ in range(count):
            self.now += round(self._tick_s * 1e9)
            setpoint = self.gate.tick()
            self._positions.append(setpoint.position)
            self._openings.append(np.nan if setpoint.gripper is None else setpoint.gripper)
            self._segments.append(self._segment)
            self._frees.append(self._free)
            if self._stopping_since is not None and not self.gate.moving:
                self._stops.append((self._stopping_since, len(self._positions) - self._stopping_since))
                self._stopping_since = None

    def _ends_lead(self) -> None:
        """Something other than the last command was asked for."""
        if self._leading is not None:
            self._leads.append((self._leading, len(self._positions)))
            self._leading = None
