"""Chunks as ways from where their observation saw the target, whatever was executed since. Pure: time is handed in.

An action of a chunk is relative: it assumes that the chunk's own actions before it were executed, from the target pose
of its observation on. When an answer is late, commands of older chunks were executed in their place. Adding its action
to them would do twice what both meant once. So the command of a control step is what is left: the composition of the
chunk's actions up to that step, after the inverse of what was executed since its observation (the ledger,
:class:`ExecutedCommands`). What a limit took away, or a driver refused, is made up for by the commands that follow.

Control steps are those of the observations: step k lasts from ``origin + k T`` on, and the origin follows their stamps.
Each step gets at most one command, at one phase within it: when 95 of 100 answers are there (the predicted latency), so
that an answer that takes a little longer moves no later command, and no command falls on the border of two steps, where
a simulator may find none in one step and two in the next.
"""

from dataclasses import dataclass

import numpy as np

from stvla_ros.control.actions import EndEffectorAction
from stvla_ros.control.caps import Caps
from stvla_ros.control.chunk_execution import COMMAND_COST, ENSEMBLED_CHUNKS, Due, RateLimit, TimedChunk, check_chunks
from stvla_ros.control.displacement import Displacement, composed, mean
from stvla_ros.control.executed_commands import ExecutedCommands
from stvla_ros.control.gripper import OPEN_ABOVE
from stvla_ros.control.latency_prediction import LatencyPrediction

# Share of a control step at whose beginning and end no command leaves by itself: stamps and timers jitter.
EARLIEST_PHASE = 0.1
LATEST_PHASE = 0.85
# How much of a stamp's deviation the origin follows.
_FOLLOWED = 0.25


@dataclass(frozen=True)
class _Known:
    """:param first: the control step of its first action."""

    chunk: TimedChunk
    first: int


class AnchoredExecutor:
    """As :class:`ChunkExecutor`. Not thread-safe.

    :param period: control period T, ns.
    :param max_age: oldest observation that is acted on, ns; 0 for any.
    :param caps: what one command may move at most.
    :param latency: of the answers; None where the world waits for them.
    :param averages: whether the mean of all valid chunks' commands leaves, in place of the newest's.
    :param chunks: how many of the last ones are kept.
    """

    def __init__(
        self,
        period: int,
        max_age: int = 0,
        caps: Caps = Caps(),
        latency: LatencyPrediction | None = None,
        averages: bool = False,
        chunks: int = ENSEMBLED_CHUNKS,
    ) -> None:
        self._period, self._max_age, self._caps, self._latency = period, max_age, caps, latency
        self._averages, self._most = averages, check_chunks(chunks)
        self._rate = RateLimit(round(COMMAND_COST * period))
        self._ledger = ExecutedCommands()
        self.reset()

    def reset(self) -> None:
        self._chunks: list[_Known] = []
        self._origin: int | None = None
        self._next_step = 0
        self._first_latency = 0
        self._opening: float | None = None  # of the last command

    def wants_inference(self, stamp: int) -> bool:
        return True

    def add(self, chunk: TimedChunk, now: int) -> bool:
        if self._chunks and chunk.stamp <= self._chunks[-1].chunk.stamp:
            self.reset()  # of a time that is over
        if self._origin is None:
            self._origin, self._next_step = chunk.stamp, 0
            self._first_latency = max(now - chunk.stamp, 0)
        first = self._follow(chunk.stamp)
        known = _Known(chunk, first)
        if self._is_stale(chunk, now) or self._index(known, self._step(now)) >= len(chunk.actions):
            return False
        self._chunks = [*self._chunks, known][-self._most :]
        return True

    def next_at(self, now: int) -> int | None:
        found = self._next(now)
        return None if found is None else found[0]

    def take(self, now: int) -> Due | None:
        found = self._next(now)
        if found is None or found[0] > now:
            return None
        _, step = found
        action = self._command(step, now, Displacement.none())
        self._next_step, self._opening = step + 1, action.gripper
        self._rate.count(now)
        number = self._ledger.sent(Displacement.of(action), now)
        return Due(self._chunks[-1].chunk.stamp, action, number)

    def correct(self, number: int, moved: Displacement, at: int | None = None) -> None:
        self._ledger.correct(number, moved, at)

    def moved(self, moved: Displacement, at: int) -> None:
        self._ledger.sent(moved, at)

    def planned(self, now: int) -> tuple[EndEffectorAction, ...]:
        if not self._chunks or self._is_stale(self._chunks[-1].chunk, now):
            return ()
        newest, actions, done = self._chunks[-1], [], Displacement.none()
        step = max(self._step(now), self._next_step)
        while self._index(newest, step) < len(newest.chunk.actions):
            actions.append(self._command(step, now, done))
            done = done.then(Displacement.of(actions[-1]))
            step += 1
        return tuple(actions)

    def _next(self, now: int) -> tuple[int, int] | None:
        """When the next command leaves, and for which step."""
        if not self._chunks:
            return None
        earliest = self._rate.earliest(now)
        step = max(self._step(earliest), self._next_step)
        begins = self._origin + step * self._period
        at = max(earliest, begins + self._phase())
        if at > begins + LATEST_PHASE * self._period:
            step, at = step + 1, begins + self._period + self._phase()
        newest = self._chunks[-1]
        if self._index(newest, step) >= len(newest.chunk.actions) or self._is_stale(newest.chunk, at):
            return None
        return at, step

    def _phase(self) -> int:
        """How long after its beginning a step's command leaves, ns."""
        if self._latency is None:
            return 0
        latency = self._latency.predicted
        phase = (self._first_latency if latency is None else latency) % self._period
        earliest, latest = round(EARLIEST_PHASE * self._period), round(LATEST_PHASE * self._period)
        return earliest if phase > latest else max(phase, earliest)

    def _command(self, step: int, now: int, also_done: Displacement) -> EndEffectorAction:
        """:param also_done: what will have been executed beside what the ledger knows."""
        known = [each for each in self._chunks if not self._is_stale(each.chunk, now)]
        said = [self._action(each, step).gripper for each in known]
        opening = self._vote(said)
        agreeing = [each for each, wanted in zip(known, said) if (wanted > OPEN_ABOVE) == (opening > OPEN_ABOVE)]
        valid = [each for each in agreeing if self._reaches(each, step)] or agreeing[-1:]
        moving = valid if self._averages else valid[-1:]
        return mean([self._left(each, step, also_done) for each in moving]).within(self._caps).action(opening)

    def _vote(self, said: list[float]) -> float:
        """Of four, two close the gripper and three open it. Of two, which are all there are when answers are very late,
        one alone turns nothing.
        """
        tie = len(said) == 2 and sum(wanted > OPEN_ABOVE for wanted in said) == 1
        return self._opening if tie and self._opening is not None else float(np.mean(said))

    def _left(self, known: _Known, step: int, also_done: Displacement) -> Displacement:
        intended = composed(known.chunk.actions[: self._index(known, step) + 1])
        return intended.left_after(self._ledger.since(known.chunk.stamp).then(also_done))

    def _follow(self, stamp: int) -> int:
        """The step that begins with this observation; the origin moves a little to where it says."""
        first = round((stamp - self._origin) / self._period)
        self._origin += round(_FOLLOWED * (stamp - self._origin - first * self._period))
        return first

    def _step(self, now: int) -> int:
        return (now - self._origin) // self._period

    def _reaches(self, known: _Known, step: int) -> bool:
        return self._index(known, step) < len(known.chunk.actions)

    def _action(self, known: _Known, step: int) -> EndEffectorAction:
        """The chunk's action for this step; past its end the last one."""
        return known.chunk.actions[min(self._index(known, step), len(known.chunk.actions) - 1)]

    @staticmethod
    def _index(known: _Known, step: int) -> int:
        # A camera's clock may be a little ahead of ours.
        return max(step - known.first, 0)

    def _is_stale(self, chunk: TimedChunk, now: int) -> bool:
        return bool(self._max_age) and now - chunk.stamp > self._max_age
