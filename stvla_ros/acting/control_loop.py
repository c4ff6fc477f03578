"""Turns observations into the executed actions, in simulated time.

``LockstepControl`` acts as the action server does in lockstep: time is counted in answered observations, and each gets
one action. ``RealtimeControl`` simulates the realtime graph: the server handles one observation at a time while the
world goes on, and its commands leave when their time has come. At every tick the simulator executes the newest command
that arrived within the control period, or holds the arm.
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from stvla_ros.control.actions import EndEffectorAction
from stvla_ros.control.caps import Caps
from stvla_ros.control.chunk_execution import ENSEMBLED_CHUNKS, Due, RateLimit, TimedChunk, late_by
from stvla_ros.control.displacement import Displacement
from stvla_ros.control.executors import make_executor
from stvla_ros.control.gripper import StickyGripper
from stvla_ros.control.latency_prediction import LatencyPrediction
from stvla_ros.errors import InputError
from stvla_ros.policy.base import InputNeeds, Policy, PolicyInput
from stvla_ros.policy.completion import InputCompletion
from stvla_ros.policy.thoughts import Thought

# The live graph's default in realtime: no action from an older observation is executed.
MAX_OBSERVATION_AGE_NS = 1_500_000_000


class Control(ABC):
    """One policy in one episode.

    :param execution: execution of the chunks, one of ``EXECUTIONS``.
    :param period: control period, nanoseconds.
    :param sticky_steps: control steps for which a change of the gripper is held.
    :param caps: largest motion of one command.
    :param latency: prediction of the answers' latency; None if the world waits for them.
    :param chunks: number of the last chunks that are averaged, in executions that average.
    """

    max_age = 0

    def __init__(
        self,
        policy: Policy,
        execution: str,
        period: int,
        sticky_steps: int,
        caps: Caps = Caps(),
        latency: LatencyPrediction | None = None,
        chunks: int = ENSEMBLED_CHUNKS,
    ) -> None:
        self._policy = policy
        self._completion = InputCompletion(policy.needs)
        self._period = period
        self._executor = make_executor(execution, period, self.max_age, caps, latency, chunks)
        self._gripper = StickyGripper(sticky_steps)
        self.inference_s: list[float] = []
        """Wall time of each call of the policy, seconds."""
        self.thoughts: Mapping[str, Thought] = {}
        """Latest thoughts of the policy, by name."""
        policy.reset()

    @property
    def needs(self) -> InputNeeds:
        """The policy's needs."""
        return self._policy.needs

    @abstractmethod
    def act(self, observation: PolicyInput, perception_s: float) -> EndEffectorAction | None:
        """The action in the control step that begins with this observation.

        :param perception_s: duration of the perception for this observation, seconds.
        :returns: None to hold the arm.
        :raises InputError: when the policy cannot use the observation.
        """

    @abstractmethod
    def executed(self, action: EndEffectorAction) -> None:
        """Report that another actor acted in the last control step instead of ``act``'s answer.

        :param action: executed action.
        """

    def _infer(self, observation: PolicyInput, now: int) -> tuple[EndEffectorAction, ...]:
        """:param now: time of the request, on the executor's clock, nanoseconds."""
        observation = self._completion.commit(observation, lambda: self._executor.planned(now))
        started = time.perf_counter()
        answer = self._policy.predict(observation)
        actions, self.thoughts = answer.actions, answer.thoughts
        self.inference_s.append(time.perf_counter() - started)
        if not actions:
            raise InputError(f"policy {self._policy.name}: expected at least one action, got none")
        return actions

    def _finish(self, due: Due) -> EndEffectorAction:
        # The command's message has the opening as float32.
        opening = float(np.float32(self._gripper.step(due.action.gripper)))
        return replace(due.action, gripper=opening)


class LockstepControl(Control):
    """Every observation is answered; the world waits."""

    def __init__(
        self,
        policy: Policy,
        execution: str,
        period: int,
        sticky_steps: int,
        caps: Caps = Caps(),
        chunks: int = ENSEMBLED_CHUNKS,
    ) -> None:
        super().__init__(policy, execution, period, sticky_steps, caps, chunks=chunks)
        self._answered = 0
        self._number = 0  # of the last command

    def act(self, observation: PolicyInput, perception_s: float) -> EndEffectorAction:
        now = self._answered * self._period
        observation = self._completion.remember(observation)
        if self._executor.wants_inference(now):
            self._executor.add(TimedChunk(now, self._infer(observation, now)), now)
        due = self._executor.take(now)
        if due is None:
            raise AssertionError("in lockstep every observation has an action")
        self._answered += 1
        self._number = due.number
        return self._finish(due)

    def executed(self, action: EndEffectorAction) -> None:
        self._executor.correct(self._number, Displacement.of(action))


class RealtimeControl(Control):
    """The world goes on while the policy thinks. All times are simulated, nanoseconds from the episode's start.

    An observation reaches the server when the perception is done with it. One inference runs at a time, and meanwhile
    the newest observation waits. Its answer comes after the inference latency and the added latency: both keep the
    server busy, as a slower computer would. A command is on time when it arrives before the period of its observation
    ends.

    :param latency_s: duration of one inference; None for each call's own wall time (and the perception's).
    :param added_s: latency that is added to it.
    """

    max_age = MAX_OBSERVATION_AGE_NS

    def __init__(
        self,
        policy: Policy,
        execution: str,
        period: int,
        sticky_steps: int,
        latency_s: float | None = None,
        added_s: float = 0.0,
        caps: Caps = Caps(),
        chunks: int = ENSEMBLED_CHUNKS,
    ) -> None:
        self._latency = LatencyPrediction()
        super().__init__(policy, execution, period, sticky_steps, caps, self._latency, chunks)
        self._latency_s, self._added_s = latency_s, added_s
        self._thinking = RateLimit(period)
        self._now = 0
        self._perceived_until = 0
        self._arriving: list[tuple[int, PolicyInput]] = []
        self._waiting: PolicyInput | None = None
        self._answer: tuple[int, TimedChunk] | None = None  # end and result of the running inference
        self._command: Due | None = None
        self._executed: Due | None = None  # of the last control step
        self.late_chunks = 0
        self.unused_chunks = 0

    def act(self, observation: PolicyInput, perception_s: float) -> EndEffectorAction | None:
        tick = observation.stamp
        # The perception takes one frame after the other.
        seconds = perception_s if self._latency_s is None else 0.0
        self._perceived_until = max(tick, self._perceived_until) + round(seconds * 1e9)
        self._arriving.append((self._perceived_until, self._completion.remember(observation)))
        while (event := self._next_event()) is not None and event[0] < tick + self._period:
            self._now, kind = event
            (self._end_inference, self._send, self._arrive)[kind]()
        self._now = tick + self._period
        self._executed, self._command = self._command, None
        return None if self._executed is None else self._executed.action

    def executed(self, action: EndEffectorAction) -> None:
        moved = Displacement.of(action)
        if self._executed is None:
            self._executor.moved(moved, self._now - self._period)
        else:
            self._executor.correct(self._executed.number, moved)

    def _next_event(self) -> tuple[int, int] | None:
        """The time and the kind of the next event: 0 an inference ends, 1 a command leaves, 2 an observation
        arrives.
        """
        times = (
            self._answer and self._answer[0],
            self._executor.next_at(self._now),
            self._arriving[0][0] if self._arriving else None,
        )
        return min(((at, kind) for kind, at in enumerate(times) if at is not None), default=None)

    def _arrive(self) -> None:
        _, observation = self._arriving.pop(0)
        if self._is_wanted(observation):
            self._waiting = observation
            self._think()

    def _is_wanted(self, observation: PolicyInput) -> bool:
        stamp = observation.stamp
        if self._now - stamp > self.max_age:
            return False
        return self._thinking.earliest(stamp) == stamp and self._executor.wants_inference(stamp)

    def _think(self) -> None:
        """Begin with the waiting observation, if the server is free and still wants it."""
        observation = self._waiting
        if observation is None or self._answer is not None:
            return
        self._waiting = None
        if not self._is_wanted(observation):
            return
        self._thinking.count(observation.stamp)
        actions = self._infer(observation, observation.stamp)
        seconds = self.inference_s[-1] if self._latency_s is None else self._latency_s
        ends = self._now + round((seconds + self._added_s) * 1e9)
        self._answer = (ends, TimedChunk(observation.stamp, actions))

    def _end_inference(self) -> None:
        _, chunk = self._answer
        self._answer = None
        self._latency.add(self._now - chunk.stamp)
        self.late_chunks += late_by(chunk, self._now, self._period) > 0
        self.unused_chunks += not self._executor.add(chunk, self._now)
        self._think()

    def _send(self) -> None:
        due = self._executor.take(self._now)
        if self._command is not None:
            self._executor.correct(self._command.number, Displacement.none())
        # The gripper counts sent commands, also those that a newer one replaces before they are executed.
        self._command = replace(due, action=self._finish(due))
