"""The action server's timing: when it infers and when it commands; pacing, chunk execution, gripper, and their
figures.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from stvla_ros.control.actions import EndEffectorAction
from stvla_ros.control.caps import Caps
from stvla_ros.control.chunk_execution import (
    ENSEMBLED_CHUNKS,
    MOST_CHUNKS,
    PACINGS,
    RESTART_NS,
    Due,
    RateLimit,
    TimedChunk,
    late_by,
)
from stvla_ros.control.displacement import Displacement
from stvla_ros.control.executors import make_executor
from stvla_ros.control.gripper import StickyGripper
from stvla_ros.control.latency_prediction import LatencyPrediction
from stvla_ros.nodes.kit.base import StvlaNode
from stvla_ros.nodes.kit.stage_statistics import PerMinute, Rate

# Reasons under which observations are counted that the policy never sees.
STALE = "stale observation"
NOT_WANTED = "no inference wanted"
# Figures that the diagnostics also give per minute.
COUNTED = ("holds", "late_chunks", "skipped_actions")
# Verdicts come within a control period.
UNJUDGED_KEPT = 64


class CommandSchedule:
    """The timing of one goal after another. Not thread-safe.

    In realtime, time is the node's clock. In lockstep the world stands still while the policy thinks: time is then the
    number of answered observations, in control periods, and every observation gets exactly one command.
    """

    def __init__(self, node: StvlaNode, execution: str, caps: Caps) -> None:
        """Declare the parameters.

        :param execution: execution of the chunks, one of ``EXECUTIONS``.
        :param caps: largest motion of one command.
        :raises InputError: naming the bad parameter.
        """
        self._node = node
        control_hz = node.parameter("control_hz", 5.0, "control steps per second of the robot", low=0.1, high=1000.0)
        self.period_s = 1.0 / control_hz
        pacing = node.parameter("pacing", "realtime", "whether the world waits for each command", choices=PACINGS)
        sticky = node.parameter(
            "sticky_gripper",
            0,
            "control steps for which a change of the gripper is held; 0 passes the policy's opening through",
            low=0,
            high=1000,
        )
        chunks = node.parameter(
            "ensembled_chunks",
            ENSEMBLED_CHUNKS,
            "number of the last chunks that are averaged, in executions that average",
            low=1,
            high=MOST_CHUNKS,
        )
        max_age_s = node.parameter(
            "max_observation_age",
            1.5,
            "realtime: oldest observation that is acted on, seconds; 0 for any",
            low=0.0,
            high=3600.0,
        )
        self._most = node.parameter(
            "commands_per_observation",
            0,
            "commands from one observation that the robot's driver executes at most; 0: no driver counts them",
            low=0,
            high=1000,
        )
        self.lockstep = pacing == "lockstep"
        self._period = round(self.period_s * 1e9)
        self.oldest_s = 0.0 if self.lockstep else max_age_s
        """Age in seconds beyond which no observation is acted on; 0 for any age."""
        self._max_age = round(self.oldest_s * 1e9)
        self._latency = LatencyPrediction()
        latency = None if self.lockstep else self._latency
        self._executor = make_executor(execution, self._period, self._max_age, caps, latency, chunks)
        self._gripper = StickyGripper(sticky)
        self._thinking = RateLimit(self._period)
        self._newest_stamp = 0
        self._answered = 0
        # Stamp and number of each command whose verdict may still come.
        self._unjudged: deque[tuple[int, int]] = deque(maxlen=UNJUDGED_KEPT)
        self._chunks, self._actions, self._unused = 0, 0, 0
        self._chunk_rate, self._action_rate = Rate(), Rate()
        self._counts = dict.fromkeys(COUNTED, 0)
        self._per_minute = {name: PerMinute() for name in COUNTED}
        self._last_command: int | None = None

    def forget_chunks(self) -> None:
        """Send nothing more until the next chunk: the robot holds."""
        self._executor.reset()

    def reset(self) -> None:
        """A goal or an episode begins or ends."""
        self._executor.reset()
        self._last_command = None
        self._gripper.reset()
        self._thinking.reset()

    def first_stamp(self, newest: int | None) -> int | None:
        """The oldest stamp of observations that answer a goal that begins now; None for any.

        In lockstep the world stands still until the waiting observation is answered, so it still shows the present
        world. In realtime a picture must be newer than all that had arrived, by its own stamp's clock, and newer than
        the goal, by the node's clock. With no limit of age, the two clocks need not agree, so only the first counts.

        :param newest: stamp of the newest picture that has arrived, nanoseconds.
        """
        if self.lockstep:
            return None
        known = [newest + 1] if newest is not None else []
        return max(known + [self._node.now_ns()] if self._max_age else known, default=None)

    def refusal(self, stamp: int) -> str:
        """The reason why the policy should not answer the observation with this stamp; empty when it should.

        On average there is at most one inference per control period.
        """
        if self.lockstep:
            return "" if self._executor.wants_inference(self._now()) else NOT_WANTED
        if self._max_age and self._node.now_ns() - stamp > self._max_age:
            return STALE
        if stamp < self._newest_stamp - RESTART_NS:
            self.reset()  # the source started anew
            self._newest_stamp = stamp
        self._newest_stamp = max(self._newest_stamp, stamp)
        wanted = self._thinking.earliest(stamp) == stamp and self._executor.wants_inference(stamp)
        return "" if wanted else NOT_WANTED

    def think(self, stamp: int) -> None:
        """The policy begins with the observation of this stamp."""
        if not self.lockstep:
            self._thinking.count(stamp)

    def add(self, stamp: int, actions: Sequence[EndEffectorAction]) -> None:
        """Take the policy's answer to the observation of this stamp."""
        if 0 < self._most < len(actions):
            self._node.get_logger().warning(
                f"policy: {len(actions)} actions in a chunk, the driver executes at most {self._most} commands from "
                "one observation and refuses the others (driver.limits.commands_per_observation in the robot's file)",
                once=True,
            )
        now = self._now()
        chunk = TimedChunk(now if self.lockstep else stamp, tuple(actions))
        self._chunks += 1
        self._chunk_rate.count()
        over = late_by(chunk, now, self._period)
        if not self.lockstep:
            self._latency.add(now - chunk.stamp)
        self._count("late_chunks", over > 0)
        self._count("skipped_actions", min(over, len(actions)))
        self._unused += not self._executor.add(chunk, now)

    def planned(self, stamp: int) -> tuple[EndEffectorAction, ...]:
        """The actions from the observation of this stamp on, unless the policy's next answer replaces them."""
        return self._executor.planned(self._now() if self.lockstep else stamp)

    def answer(self, stamp: int) -> Due | None:
        """Lockstep: the command for the observation of this stamp; None when there is no action."""
        due = self.due()
        self._answered += due is not None
        return due and replace(due, stamp=stamp)

    def due(self) -> Due | None:
        """The command whose time has come."""
        due = self._executor.take(self._now())
        if due is None:
            return None
        self._actions += 1
        self._action_rate.count()
        now, last = self._now(), self._last_command
        self._last_command = now
        self._count("holds", 0 if last is None else max(round((now - last) / self._period) - 1, 0))
        self._unjudged.append((due.stamp, due.number))
        return replace(due, action=replace(due.action, gripper=self._gripper.step(due.action.gripper)))

    def judge(self, stamp: int, moved: Displacement | None, at: int) -> None:
        """The driver, or the simulator, has reported on the oldest unreported command with this stamp.

        :param moved: motion of the target; None: as commanded.
        :param at: time of the report in the clock of the stamps, ns.
        """
        number = next((number for known, number in self._unjudged if known == stamp), None)
        if number is None:
            return
        self._unjudged.remove((stamp, number))
        if moved is not None:
            # In lockstep time is counted in observations, whatever the clock says.
            self._executor.correct(number, moved, None if self.lockstep else at)

    def _count(self, what: str, events: int) -> None:
        self._counts[what] += events
        self._per_minute[what].count(events)

    def wait_s(self) -> float | None:
        """Seconds until the next command leaves; None when there is nothing to wait for."""
        now = self._now()
        at = self._executor.next_at(now)
        return None if at is None else (at - now) * 1e-9

    def figures(self) -> dict[str, Any]:
        """Figures for the diagnostics.

        Late chunks came when their first action's step was over; of unused ones nothing could be executed any more.
        Skipped actions are those of late chunks whose step was over. A hold is a control step without a command between
        two commands.
        """
        return {
            "chunks": self._chunks,
            "actions": self._actions,
            "chunks_per_s": self._chunk_rate.per_second(),
            "actions_per_s": self._action_rate.per_second(),
            **self._counts,
            "late_chunk_share": round(self._counts["late_chunks"] / self._chunks, 4) if self._chunks else 0.0,
            "unused_chunks": self._unused,
            **{f"{name}_per_minute": counted.value() for name, counted in self._per_minute.items()},
            "predicted_latency_ms": round((self._latency.predicted or 0) * 1e-6, 1),
        }

    def _now(self) -> int:
        return self._answered * self._period if self.lockstep else self._node.now_ns()
