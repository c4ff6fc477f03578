"""Decides which action of which chunk leaves, and when. Pure: the caller passes the time, as int nanoseconds of any one
clock.

T is the control period. An inference on the observation with stamp s gives a chunk whose action i belongs to the
control step [s + i T, s + (i + 1) T). It is timed from the observation, not from the end of the inference, so actions
whose step is over by then are skipped.

Executions
* ``receding``: the first action of each chunk whose step is not over; then nothing until the next chunk.
* ``chunk``: open loop. All actions of a chunk, T apart; no inference is wanted before they are used up.
* ``ensemble``: the weighted mean of the last chunks' actions for this step. There are 4 chunks (``ENSEMBLED_CHUNKS``)
  or as many as asked for, with weights exp(0.8 i), i = 0 the oldest. With 4 it is the evaluation setting published with
  SpatialVLA (DelinQu/SimplerEnv-OpenVLA, action_ensemble_temp -0.8).
* ``mean_ensemble``: their plain mean. A single odd answer moves the arm little, and never turns the gripper: that takes
  half of the chunks. With the published weights the newest chunk alone decides about the gripper.
* ``adaptive_ensemble``: weights exp(0.1 c), where c is the cosine between a chunk's action for this step and the newest
  chunk's, over all seven numbers in their units (CogACT, arXiv 2411.19650 and its SimplerEnv code). The ensembles
  continue with the chunks that they have when the next one is late.

Means of translation, rotation vector and gripper are taken by component. For rotation vectors this is an approximation;
one control step turns by a few degrees, where it is good.

A chunk is never executed from a stale observation. Commands are never faster than the robot's control steps: each is
the motion of one step, so more of them would move the robot too fast.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from stvla_ros.control.actions import EndEffectorAction
from stvla_ros.errors import InputError

if TYPE_CHECKING:
    from stvla_ros.control.displacement import Displacement  # with scipy, which commands only load when they need it

PACINGS = ("lockstep", "realtime")
"""Whether the world waits for each command, or does not."""
ENSEMBLED_CHUNKS, MOST_CHUNKS = 4, 32
"""Default and largest number of the last chunks that are averaged."""
EXPONENT = 0.8
ADAPTIVE_ALPHA = 0.1
# Time in control periods for which the ensembles wait for a late chunk before they continue without it. Otherwise, one
# inference that takes a little longer would push every command after it to the end of its period.
GRACE = 0.25
# Least distance of two commands, and of two answered observations, in control periods: a frame or an inference that is
# early must not wait for another whole period.
SPACING = 0.5
# Share of a control period that a command counts: with a whole one, the delay after a late command would never be made
# up for.
COMMAND_COST = 0.9
# If time goes back by more than this, it has started anew: a new recording, or a clock that was set.
RESTART_NS = 1_000_000_000


@dataclass(frozen=True)
class TimedChunk:
    """A policy's answer to one observation.

    :param stamp: the observation's stamp, ns.
    :param actions: actions, at least one; the first is for the control step that begins at the stamp.
    """

    stamp: int
    actions: tuple[EndEffectorAction, ...]


@dataclass(frozen=True)
class Due:
    """An action whose time has come.

    :param stamp: stamp of the newest observation that it comes from, ns.
    :param number: number of the command, for reports on it to the executor.
    """

    stamp: int
    action: EndEffectorAction
    number: int = 0


def late_by(chunk: TimedChunk, now: int, period: int) -> int:
    """The number of its actions whose control steps are over.

    :param period: control period, ns.
    """
    # A camera's clock may be a little ahead of ours.
    return max((now - chunk.stamp) // period, 0)


class RateLimit:
    """Limits events to one per period on average: at most window / period + 1.5 in any window, and no two closer than
    ``SPACING`` periods.

    :param period: length of the period, ns.
    """

    def __init__(self, period: int) -> None:
        self._period = period
        self._spacing = round(SPACING * period)
        self.reset()

    def reset(self) -> None:
        self._last: int | None = None
        self._paid_until = 0

    def earliest(self, now: int) -> int:
        """The time of the next possible event, not before ``now``."""
        if self._last is None or now < self._last - RESTART_NS:
            return now
        return max(now, self._last + self._spacing, self._paid_until - self._period // 2)

    def count(self, now: int) -> None:
        """An event happens now."""
        restarted = self._last is None or now < self._last - RESTART_NS
        self._paid_until = (now if restarted else max(now, self._paid_until)) + self._period
        self._last = now


def exponential_weights(predictions: np.ndarray) -> np.ndarray:
    """
    :param predictions: (n, 7) predictions, oldest first.
    :returns: (n,) positive weights of sum 1.
    """
    return _normalized(EXPONENT * np.arange(len(predictions)))


def equal_weights(predictions: np.ndarray) -> np.ndarray:
    """As :func:`exponential_weights`, but equal."""
    return np.full(len(predictions), 1.0 / len(predictions))


def adaptive_weights(predictions: np.ndarray) -> np.ndarray:
    """As :func:`exponential_weights`. The cosine with an action of zeros counts as 0."""
    lengths = np.linalg.norm(predictions, axis=1)
    products = lengths * lengths[-1]
    cosines = np.divide(predictions @ predictions[-1], products, out=np.zeros(len(predictions)), where=products > 0)
    return _normalized(ADAPTIVE_ALPHA * cosines)


def _normalized(exponents: np.ndarray) -> np.ndarray:
    weights = np.exp(exponents - exponents.max())
    return weights / weights.sum()


@dataclass(frozen=True)
class Execution:
    """
    :param history: number of chunks that are kept.
    :param continues: whether a chunk's further actions follow its first.
    :param open_loop: whether no inference is wanted while a chunk has actions left.
    :param anchored: whether actions count from the target pose at their observation (``anchored_execution.py``).
    :param weights: function from predictions (n, 7), oldest chunk first, to weights (n,) of sum 1.
    """

    history: int = 1
    continues: bool = True
    open_loop: bool = False
    anchored: bool = False
    grace: float = 0.0
    weights: Callable[[np.ndarray], np.ndarray] = exponential_weights


EXECUTIONS = {
    "receding": Execution(continues=False),
    "chunk": Execution(open_loop=True),
    "ensemble": Execution(ENSEMBLED_CHUNKS, grace=GRACE, weights=exponential_weights),
    "mean_ensemble": Execution(ENSEMBLED_CHUNKS, grace=GRACE, weights=equal_weights),
    "adaptive_ensemble": Execution(ENSEMBLED_CHUNKS, grace=GRACE, weights=adaptive_weights),
    "anchored": Execution(ENSEMBLED_CHUNKS, anchored=True),
    "anchored_mean": Execution(ENSEMBLED_CHUNKS, anchored=True, weights=equal_weights),
}


def check_chunks(chunks: int) -> int:
    """:returns: ``chunks``. :raises InputError: unless it is a possible number of averaged chunks."""
    if type(chunks) is not int or not 1 <= chunks <= MOST_CHUNKS:
        raise InputError(f"ensembled_chunks: expected 1 to {MOST_CHUNKS}, got {chunks!r}")
    return chunks


class ChunkExecutor:
    """Takes chunks, and gives actions. Not thread-safe.

    :param execution: name of the execution, one of ``EXECUTIONS``.
    :param period: control period, ns.
    :param max_age: largest age of an observation that is acted on, ns; 0 for any.
    :param chunks: number of the last chunks that are averaged, in executions that average.
    :raises InputError: for an unknown execution, or an impossible number of chunks.
    """

    def __init__(self, execution: str, period: int, max_age: int = 0, chunks: int = ENSEMBLED_CHUNKS) -> None:
        if execution not in EXECUTIONS:
            raise InputError(f"execution: expected one of {', '.join(EXECUTIONS)}, got {execution!r}")
        self._execution = EXECUTIONS[execution]
        self._history = check_chunks(chunks) if self._execution.history > 1 else 1
        self._period = period
        self._max_age = max_age
        self._rate = RateLimit(round(COMMAND_COST * period))
        self._last_command: int | None = None
        self.reset()

    def reset(self) -> None:
        """Forget all chunks. The time of the last command is kept: the robot still executes it."""
        self._chunks: list[TimedChunk] = []
        # Index of the newest chunk's next action; 0 while none of it has left.
        self._next_index = 0
        # The next chunk is expected only from the step after a chunk's first action on.
        self._expects_chunk = False

    def wants_inference(self, stamp: int) -> bool:
        """Whether an observation with this stamp should be answered with a new chunk."""
        if not self._execution.open_loop:
            return True
        last = self._last_command
        if last is not None and last - RESTART_NS <= stamp < last:
            return False  # does not show what the last action did
        return self.next_at(stamp) is None

    def add(self, chunk: TimedChunk, now: int) -> bool:
        """Take a chunk.

        :return: whether any of its actions can still leave; otherwise it is ignored.
        """
        if self._is_stale(chunk, now) or self._index(chunk, now) >= len(chunk.actions):
            return False
        if self._chunks and chunk.stamp <= self._chunks[-1].stamp:
            self._chunks.clear()  # of a time that is over
        self._chunks = [*self._chunks, chunk][-self._history :]
        self._next_index = 0
        return True

    def next_at(self, now: int) -> int | None:
        """The time at which the next action leaves unless another chunk comes, ``now`` or later; None when there is
        none.
        """
        if not self._chunks:
            return None
        newest, at = self._chunks[-1], self._rate.earliest(now)
        if self._next_index:
            if not self._execution.continues:
                return None
            wait = self._execution.grace if self._expects_chunk else 0.0
            at = max(at, self._last_command + self._period + round(wait * self._period))
        index = max(self._index(newest, at), self._next_index)
        return None if index >= len(newest.actions) or self._is_stale(newest, at) else at

    def take(self, now: int) -> Due | None:
        """The action that leaves now, if its time has come."""
        at = self.next_at(now)
        if at is None or at > now:
            return None
        newest = self._chunks[-1]
        index = max(self._index(newest, now), self._next_index)
        self._expects_chunk = self._next_index == 0
        self._next_index = index + 1
        self._last_command = now
        self._rate.count(now)
        return Due(newest.stamp, self._combine(index, now))

    def correct(self, number: int, moved: "Displacement", at: int | None = None) -> None:
        """A report on a command; it does not change the following ones."""

    def moved(self, moved: "Displacement", at: int) -> None:
        """Another actor moved the target; it does not matter here."""

    def planned(self, now: int) -> tuple[EndEffectorAction, ...]:
        """The actions from ``now`` on, one for each control step, if no further chunk came."""
        if not self._chunks:
            return ()
        newest = self._chunks[-1]
        if self._is_stale(newest, now) or (self._next_index and not self._execution.continues):
            return ()
        first = max(self._index(newest, now), self._next_index)
        last = len(newest.actions) if self._execution.continues else min(first + 1, len(newest.actions))
        return tuple(self._combine(index, now) for index in range(first, last))

    def _combine(self, index: int, now: int) -> EndEffectorAction:
        """The combination of the kept chunks' actions for the step of the newest chunk's action ``index``."""
        newest = self._chunks[-1]
        said = []
        for chunk in self._chunks:
            # The newest chunk's steps, and not the clock, tell which actions belong to the same step: cameras jitter.
            same = index + round((newest.stamp - chunk.stamp) / self._period)
            if same < len(chunk.actions) and not self._is_stale(chunk, now):
                said.append(chunk.actions[same])
        if len(said) == 1:
            return said[0]
        predictions = np.array([[*action.translation, *action.rotation, action.gripper] for action in said])
        mean = self._execution.weights(predictions) @ predictions
        return EndEffectorAction(mean[:3], mean[3:6], float(np.clip(mean[6], 0.0, 1.0)))

    def _index(self, chunk: TimedChunk, now: int) -> int:
        return late_by(chunk, now, self._period)

    def _is_stale(self, chunk: TimedChunk, now: int) -> bool:
        return bool(self._max_age) and now - chunk.stamp > self._max_age
