"""Executes chunks as paths from the target pose at their observation, whatever was executed since. Pure: the caller
passes the time.

An action of a chunk is relative: it assumes that the chunk's own earlier actions were executed, beginning at the target
pose of its observation. When an answer is late, commands of older chunks were executed instead. Adding its action to
them would do twice what both meant once. So the command of a control step is the remaining motion: the chunk's actions
composed up to that step, after the inverse of everything that was executed since its observation (the ledger,
:class:`ExecutedCommands`). If a limit shortened a command, or a driver refused one, the following commands make up for
it.

Control steps are counted from the observations: step k begins at ``origin + k T``, and the origin follows their stamps.
Each step gets at most one command, at one phase within it: the time by which 95 of 100 answers have arrived (the
predicted latency). So an answer that takes a little longer delays no later command. And no command falls on the border
of two steps, where a simulator might find none in one step and two in the next.

Where answers come late, the gripper opens or closes only when the answer to an observation of that very place says so:
its first action. A change that an answer expects further on is a guess about a place that nobody has looked at yet, and
a grasp that misses by a centimetre costs more than a pause. So the target goes to the pose before the change and waits
there. When an answer to an observation of this pose begins with the change, its chunk is executed from its first
action, now. Answers to observations from before a change do not know of it: they are dropped, unless they begin with
the same change.
"""

from dataclasses import dataclass, replace

import numpy as np

from stvla_ros.control.actions import EndEffectorAction
from stvla_ros.control.caps import Caps
from stvla_ros.control.chunk_execution import COMMAND_COST, ENSEMBLED_CHUNKS, Due, RateLimit, TimedChunk, check_chunks
from stvla_ros.control.displacement import Displacement, composed, mean
from stvla_ros.control.executed_commands import ExecutedCommands
from stvla_ros.control.gripper import OPEN_ABOVE
from stvla_ros.control.latency_prediction import LatencyPrediction

# Share of a control step at its beginning and its end in which no command leaves by itself: stamps and timers jitter.
EARLIEST_PHASE = 0.1
LATEST_PHASE = 0.85
# A target that moved less than this since an observation is where the observation shows it: metres, radians. It is
# half of what a policy's last steps before a grasp are long.
_SAME_PLACE_M, _SAME_PLACE_RAD = 0.005, 0.05
# Share of a stamp's deviation by which the origin follows.
_FOLLOWED = 0.25


@dataclass(frozen=True)
class _Known:
    """
    :param first: control step of its first action.
    :param begun: whether it was begun at the place of its observation, for the gripper's change with which it begins.
    """

    chunk: TimedChunk
    first: int
    begun: bool = False


class AnchoredExecutor:
    """Same interface as :class:`ChunkExecutor`. Not thread-safe.

    :param period: control period T, ns.
    :param max_age: largest age of an observation that is acted on, ns; 0 for any.
    :param caps: largest motion of one command.
    :param latency: prediction of the answers' latency; None if the world waits for them.
    :param averages: whether the command is the mean of all valid chunks' commands, instead of the newest chunk's.
    :param chunks: number of the last chunks that are kept.
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
        self._waits = latency is not None  # for the gripper
        self._rate = RateLimit(round(COMMAND_COST * period))
        self._ledger = ExecutedCommands()
        self.reset()

    def reset(self) -> None:
        self._chunks: list[_Known] = []
        self._origin: int | None = None
        self._next_step = 0
        self._first_latency = 0
        self._opening: float | None = None  # of the last command
        self._changed: int | None = None  # when the gripper was last told otherwise

    def wants_inference(self, stamp: int) -> bool:
        return True

    def add(self, chunk: TimedChunk, now: int) -> bool:
        if self._chunks and chunk.stamp <= self._chunks[-1].chunk.stamp:
            self.reset()  # of a time that is over
        if self._changed is not None and chunk.stamp < self._changed:
            return self._continue_change(chunk, now)
        if self._origin is None:
            self._origin, self._next_step = chunk.stamp, 0
            self._first_latency = max(now - chunk.stamp, 0)
        first = self._follow(chunk.stamp)
        known = _Known(chunk, first)
        if self._is_stale(chunk, now) or self._is_over(known, self._step(now)):
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
        self._begin_change(step)
        action = self._command(step, now, Displacement.none())
        if self._waits and self._opening is not None and _is_open(action.gripper) != _is_open(self._opening):
            self._changed = now
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
        """The time at which the next command leaves, and its step."""
        if not self._chunks:
            return None
        earliest = self._rate.earliest(now)
        step = max(self._step(earliest), self._next_step)
        begins = self._origin + step * self._period
        at = max(earliest, begins + self._phase())
        if at > begins + LATEST_PHASE * self._period:
            step, at = step + 1, begins + self._period + self._phase()
        newest = self._chunks[-1]
        if self._is_over(newest, step) or self._is_stale(newest.chunk, at):
            return None
        return at, step

    def _phase(self) -> int:
        """The time after a step's beginning at which its command leaves, ns."""
        if self._latency is None:
            return 0
        latency = self._latency.predicted
        phase = (self._first_latency if latency is None else latency) % self._period
        earliest, latest = round(EARLIEST_PHASE * self._period), round(LATEST_PHASE * self._period)
        return earliest if phase > latest else max(phase, earliest)

    def _command(self, step: int, now: int, also_done: Displacement) -> EndEffectorAction:
        """:param also_done: motion that will have been executed beside what the ledger knows."""
        known = [each for each in self._chunks if not self._is_stale(each.chunk, now)]
        if self._waits:
            moving, opening = self._until_change(known, step)
        else:
            moving, opening = self._agreeing(known, step)
        left = [self._left(each, step, also_done) for each in (moving if self._averages else moving[-1:])]
        return mean(left).within(self._caps).action(opening)

    def _agreeing(self, known: list[_Known], step: int) -> tuple[list[_Known], float]:
        """The chunks that move the arm, and the gripper's opening by vote."""
        said = [self._action(each, step).gripper for each in known]
        opening = self._vote(said)
        agreeing = [each for each, wanted in zip(known, said) if _is_open(wanted) == _is_open(opening)]
        return [each for each in agreeing if self._reaches(each, step)] or agreeing[-1:], opening

    def _until_change(self, known: list[_Known], step: int) -> tuple[list[_Known], float]:
        """The chunks that move the arm, and the opening that the newest one wants and may have."""
        newest = known[-1]
        wanted = self._action(newest, step).gripper
        if self._allowed(newest) <= self._index(newest, step):
            return [newest], newest.chunk.actions[0].gripper if self._opening is None else self._opening
        moving = [each for each in known if self._allowed(each) > self._index(each, step)]
        going_on = [each for each in moving if self._reaches(each, step)]
        return going_on or [newest], wanted

    def _allowed(self, known: _Known) -> int:
        """The number of the chunk's first actions that may be executed: those before it changes the gripper."""
        change = self._change(known)
        return len(known.chunk.actions) if change == 0 and known.begun else change

    def _change(self, known: _Known) -> int:
        """The index of the chunk's first action that changes the gripper; the number of its actions if none does."""
        actions = known.chunk.actions
        now_open = _is_open(actions[0].gripper if self._opening is None else self._opening)
        return next((i for i, action in enumerate(actions) if _is_open(action.gripper) != now_open), len(actions))

    def _begin_change(self, step: int) -> None:
        """Begin the newest chunk in this step if it begins with a change of the gripper and its observation shows the
        target where it now is.
        """
        newest = self._chunks[-1]
        if self._waits and self._change(newest) == 0 and self._rested(newest.chunk.stamp):
            self._chunks = [replace(newest, first=step, begun=True)]

    def _continue_change(self, chunk: TimedChunk, now: int) -> bool:
        """Take the answer to an observation from before the last change, if it begins with the same change. It takes
        the place of the one that was begun, which else might grow stale before an observation that shows the change is
        answered.

        :returns: whether it was taken.
        """
        begun = self._chunks[-1]
        same = self._opening is not None and _is_open(chunk.actions[0].gripper) == _is_open(self._opening)
        if not begun.begun or not same or self._is_stale(chunk, now):
            return False
        self._chunks = [replace(begun, chunk=chunk)]
        return True

    def _rested(self, stamp: int) -> bool:
        """Whether the target is where an observation shows it."""
        moved = self._ledger.since(stamp)
        rested = float(np.linalg.norm(moved.translation)) < _SAME_PLACE_M
        return rested and float(moved.rotation.magnitude()) < _SAME_PLACE_RAD

    def _vote(self, said: list[float]) -> float:
        """The gripper's opening by vote. Of four votes, two close the gripper and three open it. Of two, as many as
        there are when answers are very late, a single one changes nothing.
        """
        tie = len(said) == 2 and sum(wanted > OPEN_ABOVE for wanted in said) == 1
        return self._opening if tie and self._opening is not None else float(np.mean(said))

    def _left(self, known: _Known, step: int, also_done: Displacement) -> Displacement:
        count = self._index(known, step) + 1
        if self._waits:
            count = min(count, self._allowed(known))
        intended = composed(known.chunk.actions[:count])
        return intended.left_after(self._ledger.since(known.chunk.stamp).then(also_done))

    def _follow(self, stamp: int) -> int:
        """The step that begins with this observation; the origin moves a little towards its stamp."""
        first = round((stamp - self._origin) / self._period)
        self._origin += round(_FOLLOWED * (stamp - self._origin - first * self._period))
        return first

    def _step(self, now: int) -> int:
        return (now - self._origin) // self._period

    def _is_over(self, known: _Known, step: int) -> bool:
        """Whether it has no action for this step, and none that it waits to begin with."""
        return not self._reaches(known, step) and not (self._waits and self._change(known) == 0)

    def _reaches(self, known: _Known, step: int) -> bool:
        return self._index(known, step) < len(known.chunk.actions)

    def _action(self, known: _Known, step: int) -> EndEffectorAction:
        """The chunk's action for this step; after its end, the last one."""
        return known.chunk.actions[min(self._index(known, step), len(known.chunk.actions) - 1)]

    @staticmethod
    def _index(known: _Known, step: int) -> int:
        # A camera's clock may be a little ahead of ours.
        return max(step - known.first, 0)

    def _is_stale(self, chunk: TimedChunk, now: int) -> bool:
        return bool(self._max_age) and now - chunk.stamp > self._max_age


def _is_open(opening: float) -> bool:
    return opening > OPEN_ABOVE
