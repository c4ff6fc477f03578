"""The goals of the action ``execute_instruction``; at most one runs.

While a goal runs, another one is rejected; with ``allow_preemption`` the new one replaces it. It makes no difference
whose goal it is, because rclpy does not tell an action server which client asks. To replace a goal of your own, cancel
it first. For the same reason a goal continues until all clients that there were at its beginning are gone.
"""

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from rclpy.action import ActionServer, CancelResponse, GoalResponse
from rclpy.action.server import ServerGoalHandle
from rclpy.task import Future

from stvla_ros.action import ExecuteInstruction
from stvla_ros.control.command_identity import CommandIdentity
from stvla_ros.msg import CommandVerdict
from stvla_ros.nodes.kit.base import StvlaNode
from stvla_ros.nodes.kit.messages import stamp_to_ns
from stvla_ros.nodes.server.driver_watch import DriverWatch
from stvla_ros.nodes.server.goal_callers import Gid, GoalCallers, action_clients
from stvla_ros.safe_files import limit

Result = ExecuteInstruction.Result

ACTION = "execute_instruction"
WATCH_PERIOD_S = 0.1
# The driver's verdict comes within milliseconds of its command.
_COMMANDS_KEPT = 64


@dataclass(eq=False)
class Goal:
    """A running instruction. Hold the lock to count or publish for it.

    :param identity: identity that its commands carry.
    :param callers: clients that may have sent it.
    :param first_stamp: stamp of the oldest observation that may answer it, nanoseconds; None for any.
    :param command_stamps: stamps of its newest commands, nanoseconds.
    :param refused_since: reason why the driver refused the newest of these commands; empty when it executed it.
    """

    handle: ServerGoalHandle
    instruction: str
    identity: CommandIdentity
    deadline_ns: int | None
    done: Future
    last_progress: float
    callers: GoalCallers
    first_stamp: int | None = None
    command_stamps: deque[int] = field(default_factory=lambda: deque(maxlen=_COMMANDS_KEPT))
    steps: int = 0
    chunks: int = 0
    clipped: int = 0
    refused: int = 0
    last_refusal: str = ""
    refused_since: str = ""
    outcome: int = Result.FAULT
    reason: str = ""


class InstructionGoals:
    """The action server.

    :param node: node that declares the action's parameters and spins it.
    :param lock: re-entrant lock. It is held while ``current`` changes, so a goal stays current while the lock is held.
    :param robot: name of the embodiment that the goals are for.
    :param on_begin: function that is called, with the lock held, when a goal has become the current one.
    :param on_end: function that is called, with the lock held, when the current goal has ended.
    """

    def __init__(
        self,
        node: StvlaNode,
        lock: threading.RLock,
        robot: str,
        on_begin: Callable[[Goal], None],
        on_end: Callable[[], None],
    ) -> None:
        self._node = node
        self._robot = robot
        self._driver = DriverWatch(node, self._on_driver_stopped)
        self._lock = lock
        self._on_begin = on_begin
        self._on_end = on_end
        self._stall_s = node.parameter(
            "stall_timeout",
            10.0,
            "seconds without an executed command after which a goal ends as stalled; 0 for never",
            low=0.0,
            high=86400.0,
        )
        self._orphan_s = node.parameter(
            "orphan_timeout",
            2.0,
            "seconds after which a goal ends when all clients of its beginning are gone; 0 for never",
            low=0.0,
            high=86400.0,
        )
        self._allow_preemption = node.parameter(
            "allow_preemption", False, "a new goal replaces the running one, whoever sent it"
        )
        self._goals: dict[bytes, Goal] = {}
        self._server: ActionServer | None = None
        self.current: Goal | None = None

    def serve(self) -> None:
        """Offer the action until :meth:`destroy`. Call this from the node's ``configure``."""
        self._server = ActionServer(
            self._node,
            ExecuteInstruction,
            ACTION,
            execute_callback=self._execute,
            goal_callback=self._on_goal,
            handle_accepted_callback=self._on_accepted,
            cancel_callback=self._on_cancel,
        )
        self._node.every(WATCH_PERIOD_S, self._watch)

    def listen(self) -> None:
        """Listen to the robot's driver, if there is one. Call this from the node's ``activate``."""
        self._driver.subscribe()

    def destroy(self) -> None:
        if self._server is not None:
            self._server.destroy()
            self._server = None

    def end(self, goal: Goal | None, outcome: int, reason: str) -> None:
        """End the goal if it is the current one. Once this returns, nothing more is published for it."""
        with self._lock:
            if goal is None or self.current is not goal:
                return
            self.current = None
            goal.outcome, goal.reason = outcome, reason
            self._on_end()
        goal.done.set_result(None)
        # Setting the result alone does not wake an executor that waits in another thread.
        if self._node.executor is not None:
            self._node.executor.wake()

    def commanded(self, goal: Goal) -> None:
        """A command of the goal was published. The caller holds the lock."""
        goal.steps += 1
        if not self._driver.heard:
            # Nobody will report whether it is executed.
            goal.last_progress = time.monotonic()

    def judged(self, goal: Goal, verdict: CommandVerdict) -> None:
        """The driver has reported on a command of the goal. The caller holds the lock."""
        goal.clipped += bool(verdict.clipped)
        goal.refused_since = verdict.refused
        if verdict.executed:
            goal.last_progress = time.monotonic()
        else:
            goal.refused += 1
            goal.last_refusal = verdict.refused

    def _on_driver_stopped(self, why: str) -> None:
        with self._lock:
            self.end(self.current, Result.FAULT, f"the robot's driver stopped: {why}; a new goal is needed")

    def _on_goal(self, request: ExecuteInstruction.Goal) -> GoalResponse:
        problem = ""
        if not self._node.is_active:
            problem = "the server is not active"
        elif self._node.run.is_foreign(request.run, f"action {ACTION}"):
            problem = f"it is of another run, {request.run}"
        elif len(request.instruction) > limit("instruction_characters"):
            problem = f"goal instruction: expected at most {limit('instruction_characters')} characters, "
            problem += f"got {len(request.instruction)} (limit instruction_characters)"
        elif not request.instruction.strip():
            problem = "goal instruction: expected words, got an empty text"
        elif stamp_to_ns(request.time_limit) < 0:
            problem = "goal time_limit: expected 0 (none) or more"
        elif self._driver.stopped:
            problem = f"the robot's driver is stopped: {self._driver.stopped}"
        elif (running := self.current) is not None and not self._allow_preemption:
            runs = f"another goal runs, {running.instruction!r}"
            problem = f"{runs}; cancel it first, or start with allow_preemption:=true"
        if problem:
            self._node.get_logger().error(f"goal rejected: {problem}")
            return GoalResponse.REJECT
        return GoalResponse.ACCEPT

    def _on_accepted(self, handle: ServerGoalHandle) -> None:
        limit = stamp_to_ns(handle.request.time_limit)
        # Never 0, the time of a simulated clock before it begins: a stamp of 0 means that there is no goal.
        accepted = max(self._node.now_ns(), 1)
        deadline = accepted + limit if limit else None
        identity = CommandIdentity(self._robot, bytes(handle.goal_id.uuid), accepted)
        done = Future(executor=self._node.executor)
        goal = Goal(
            handle,
            handle.request.instruction,
            identity,
            deadline,
            done,
            time.monotonic(),
            GoalCallers(time.monotonic()),
        )
        with self._lock:
            if self.current is not None:
                both = f"goal {goal.instruction!r} takes over from {self.current.instruction!r}"
                self._node.get_logger().warning(f"{both}: allow_preemption")
                self.end(self.current, Result.PREEMPTED, f"a newer goal took over: {goal.instruction}")
            self._goals[identity.goal_id] = goal
            self.current = goal
            self._on_begin(goal)
        handle.execute()

    def _on_cancel(self, handle: ServerGoalHandle) -> CancelResponse:
        self.end(self._goals.get(bytes(handle.goal_id.uuid)), Result.STOPPED, "cancelled by the caller")
        return CancelResponse.ACCEPT

    def _watch(self) -> None:
        with self._lock:
            goal = self.current
            if goal is None:
                return
            if goal.deadline_ns is not None and self._node.now_ns() > goal.deadline_ns:
                self.end(goal, Result.TIME_LIMIT, "time limit reached")
            elif self._stall_s and time.monotonic() - goal.last_progress > self._stall_s:
                self.end(goal, Result.STALLED, self._why_stalled(goal))
            elif self._orphan_s and self._orphaned_s(goal) > self._orphan_s:
                self.end(goal, Result.FAULT, self._why_orphaned())

    def _orphaned_s(self, goal: Goal) -> float:
        """Seconds for which no client that may have sent the goal has been there."""
        return goal.callers.gone_s(self._clients(), time.monotonic())

    def _clients(self) -> set[Gid]:
        return action_clients(self._node, ACTION)

    def _why_stalled(self, goal: Goal) -> str:
        if goal.refused_since:
            return f"no command executed for {self._stall_s} s; the driver refused the last one: {goal.refused_since}"
        return f"no command executed for {self._stall_s} s: no fresh observation, no policy output, or no driver"

    def _why_orphaned(self) -> str:
        unseen = f"none of the clients of its beginning was seen for {self._orphan_s:g} s"
        return f"the caller of this goal is gone: {unseen} (orphan_timeout)"

    async def _execute(self, handle: ServerGoalHandle) -> ExecuteInstruction.Result:
        goal = self._goals[bytes(handle.goal_id.uuid)]
        await goal.done
        del self._goals[bytes(handle.goal_id.uuid)]
        if goal.outcome == Result.STOPPED:
            handle.canceled()
        elif goal.outcome == Result.TIME_LIMIT:
            handle.succeed()
        else:
            handle.abort()
        # A simulator ends its goal when the episode has succeeded: this must not read like a failure.
        why = "as its caller asked" if goal.outcome == Result.STOPPED else f"because: {goal.reason}"
        self._node.get_logger().info(f"goal over after {goal.steps} steps, {why}")
        return Result(
            outcome=goal.outcome,
            reason=goal.reason,
            steps=goal.steps,
            chunks=goal.chunks,
            clipped=goal.clipped,
            refused=goal.refused,
            last_refusal=goal.last_refusal,
        )
