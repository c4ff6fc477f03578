"""The goal that carries an episode's instruction to the action server, kept running through the server's absences."""

import time

from rclpy.action import ActionClient
from rclpy.action.client import ClientGoalHandle
from rclpy.node import Node
from rclpy.task import Future

from stvla_ros.action import ExecuteInstruction

# An accepted or refused goal is answered within milliseconds; a server that says nothing for this long is not there.
ANSWER_TIMEOUT_S = 5.0
# Between two attempts to have a goal accepted.
RETRY_S = 1.0


class EpisodeGoal:
    """One goal at a time. All methods return at once and are called from one thread, which is not the executor's."""

    def __init__(self, node: Node) -> None:
        self._logger = node.get_logger()
        self._client = ActionClient(node, ExecuteInstruction, "execute_instruction")
        self._forget()
        self._next_attempt = 0.0

    def tend(self, instruction: str) -> bool:
        """Take the next step towards a running goal.

        :return: whether one runs, or another caller's goal took over, as far as is known.
        """
        if not self._client.server_is_ready():
            self._forget()
            return False
        if self._result is not None and self._result.done():
            # Another caller's goal drives the robot: no fight over it, as long as its commands come.
            self._taken_over = self._result.result().result.outcome == ExecuteInstruction.Result.PREEMPTED
            self._handle = self._result = None
        if self._handle is not None or self._taken_over:
            return True
        now = time.monotonic()
        if self._sent is not None:
            self._take_answer(now)
        elif now >= self._next_attempt:
            self._sent = self._client.send_goal_async(ExecuteInstruction.Goal(instruction=instruction))
            self._sent_at = now
        return self._handle is not None

    def doubt(self) -> None:
        """The goal leads to no commands: let :meth:`tend` find out whether the server still knows it.

        A server that was killed and started anew does not, and discovery may never have noticed that it was away.
        """
        self._taken_over = False
        if self._handle is not None:
            self._result = self._handle.get_result_async()

    def cancel(self) -> Future | None:
        """Ask the server to end the goal.

        :return: done with the goal's end; None when there is no goal that runs.
        """
        handle, result = self._handle, self._result
        self._forget()
        if handle is None or result.done() or not self._client.server_is_ready():
            return None
        handle.cancel_goal_async()
        return result

    def destroy(self) -> None:
        self._client.destroy()

    def _forget(self) -> None:
        self._sent: Future | None = None
        self._sent_at = 0.0
        self._handle: ClientGoalHandle | None = None
        self._result: Future | None = None
        self._taken_over = False

    def _take_answer(self, now: float) -> None:
        if not self._sent.done():
            if now - self._sent_at > ANSWER_TIMEOUT_S:
                self._sent = None
            return
        handle = self._sent.result()
        self._sent = None
        if handle.accepted:
            self._handle = handle
            self._result = handle.get_result_async()
        else:
            self._next_attempt = now + RETRY_S
            self._logger.warning("action execute_instruction: the goal was not accepted", throttle_duration_sec=10.0)
