"""Sends an episode's instruction as a goal to the action server, and keeps the goal running when the server is away for
a while.
"""

import threading
import time
from dataclasses import dataclass, field

from rclpy.action import ActionClient
from rclpy.action.client import ClientGoalHandle

from stvla_ros.action import ExecuteInstruction
from stvla_ros.nodes.kit.base import StvlaNode

# An accepted or refused goal is answered within milliseconds; a server that is silent for this long is not there.
ANSWER_TIMEOUT_S = 5.0
# Time between two attempts to have a goal accepted.
RETRY_S = 1.0


@dataclass
class _Attempt:
    """One goal that was sent. The executor's thread writes, the other thread reads."""

    sent_at: float
    handle: ClientGoalHandle | None = None
    outcome: int | None = None
    reason: str = ""
    abandoned: bool = False
    ended: threading.Event = field(default_factory=threading.Event)


class EpisodeGoal:
    """One goal at a time. All methods return at once and are called from one thread, which is not the executor's.

    All communication with the server still runs as tasks of the executor: rclpy's action client loses an answer that
    comes before the asking thread has stored its request.

    :param again_after_fault: whether a goal that ended with a fault is sent again.
    """

    def __init__(self, node: StvlaNode, again_after_fault: bool = True) -> None:
        self._node, self._again_after_fault = node, again_after_fault
        # The reason why no goal is sent any more, until :meth:`cancel`; empty when one is.
        self.fault = ""
        self._client = ActionClient(node, ExecuteInstruction, "execute_instruction")
        self._attempt: _Attempt | None = None
        self._taken_over = False
        self._next_attempt = 0.0

    def tend(self, instruction: str) -> bool:
        """Take the next step towards a running goal.

        :return: whether a goal runs, or another caller's goal took over, as far as is known.
        """
        if not self._client.server_is_ready():
            self._forget()
            return False
        now, attempt = time.monotonic(), self._attempt
        if attempt is not None and attempt.ended.is_set():
            # Another caller's goal drives the robot: it is left alone as long as its commands come.
            self._taken_over = attempt.outcome == ExecuteInstruction.Result.PREEMPTED
            if attempt.outcome == ExecuteInstruction.Result.FAULT and not self._again_after_fault:
                self.fault = attempt.reason
            if attempt.handle is None:
                self._next_attempt = now + RETRY_S
            self._attempt = attempt = None
        if self.fault:
            return False
        if self._taken_over:
            return True
        unanswered = attempt is not None and attempt.handle is None
        if unanswered and now - attempt.sent_at > ANSWER_TIMEOUT_S:
            self._abandon(attempt)
            self._attempt = attempt = None
        if attempt is None and now >= self._next_attempt:
            self._attempt = attempt = _Attempt(now)
            self._node.executor.create_task(self._pursue, attempt, instruction)
        return attempt is not None and attempt.handle is not None

    def doubt(self) -> None:
        """The goal leads to no commands: let :meth:`tend` find out whether the server still knows it.

        A server that was killed and restarted does not know it, and discovery may never have noticed its absence.
        """
        self._taken_over = False
        if self._attempt is not None and self._attempt.handle is not None:
            self._node.executor.create_task(self._await_end, self._attempt)

    def cancel(self) -> threading.Event | None:
        """Ask the server to end the goal.

        :return: event that is set when the goal has ended; None when none runs. A goal that was sent and is accepted
            later ends then.
        """
        attempt = self._attempt
        self._forget()
        if attempt is None or attempt.ended.is_set() or not self._client.server_is_ready():
            return None
        self._abandon(attempt)
        return attempt.ended if attempt.handle is not None else None

    def destroy(self) -> None:
        self._client.destroy()

    def _abandon(self, attempt: _Attempt) -> None:
        # This comes first, then the handle: `_pursue` does it the other way round, so that one of the two sees both.
        attempt.abandoned = True
        if attempt.handle is not None:
            self._node.executor.create_task(attempt.handle.cancel_goal_async)

    def _forget(self) -> None:
        self._attempt = None
        self._taken_over = False
        self.fault = ""

    async def _pursue(self, attempt: _Attempt, instruction: str) -> None:
        handle = await self._client.send_goal_async(
            ExecuteInstruction.Goal(instruction=instruction, run=self._node.run.name)
        )
        if not handle.accepted:
            logger = self._node.get_logger()
            logger.warning("action execute_instruction: the goal was not accepted", throttle_duration_sec=10.0)
            attempt.ended.set()
            return
        attempt.handle = handle
        if attempt.abandoned:
            await handle.cancel_goal_async()
        await self._await_end(attempt)

    async def _await_end(self, attempt: _Attempt) -> None:
        answer = await attempt.handle.get_result_async()
        attempt.outcome, attempt.reason = answer.result.outcome, answer.result.reason
        attempt.ended.set()
