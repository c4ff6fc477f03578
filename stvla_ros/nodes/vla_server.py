"""Node ``vla_server``: the ExecuteInstruction action server around a policy.

One goal at a time; a newer goal pre-empts the running one. Inference runs in a thread of its own. A command is
published only while its goal is active, so after a cancel, a pre-emption, a time limit or a stall nothing more comes
out.
"""

import threading
import time
from dataclasses import dataclass, replace

from rclpy.action import ActionServer, CancelResponse, GoalResponse
from rclpy.action.server import ServerGoalHandle
from rclpy.task import Future

from stvla_ros.action import ExecuteInstruction
from stvla_ros.control.actions import EndEffectorAction
from stvla_ros.errors import InputError
from stvla_ros.msg import ActionChunk, EndEffectorCommand
from stvla_ros.nodes.base import RELIABLE_QOS, StvlaNode, run
from stvla_ros.nodes.joins import Pairing
from stvla_ros.nodes.messages import (
    command_to_action,
    make_chunk,
    make_header,
    seconds_to_duration,
    stamp_ns,
    stamp_to_ns,
)
from stvla_ros.nodes.observation_inputs import ObservationInputs
from stvla_ros.nodes.policy_parameters import declare_policy
from stvla_ros.policy.base import PolicyInput

Result = ExecuteInstruction.Result

WATCH_PERIOD_S = 0.1
# Expert chunks and observations that wait for each other; more than ever are on their way at once.
PENDING = 16


@dataclass
class _Goal:
    handle: ServerGoalHandle
    instruction: str
    deadline_ns: int | None
    done: Future
    last_progress: float
    steps: int = 0
    chunks: int = 0
    outcome: int = Result.FAULT
    reason: str = ""


class VlaServerNode(StvlaNode):
    """:param subscribe_to_perception: False when the perception in the same process feeds :attr:`inputs` (fused)."""

    def __init__(self, subscribe_to_perception: bool = True) -> None:
        super().__init__("vla_server")
        self._subscribe_to_perception = subscribe_to_perception
        self._choice = declare_policy(self)
        self._base_frame = self.parameter("base_frame", "base_link", "frame_id of the commands: the robot's base link")
        self._control_hz = self.parameter(
            "control_hz", 5.0, "control steps per second of the robot", low=0.1, high=1000.0
        )
        self._max_age_s = self.parameter(
            "max_observation_age",
            1.0,
            "oldest observation that is acted on, seconds; 0 for any (lockstep)",
            low=0.0,
            high=3600.0,
        )
        self._stall_s = self.parameter(
            "stall_timeout",
            10.0,
            "seconds without a command after which a goal ends as stalled; 0 for never",
            low=0.0,
            high=86400.0,
        )
        self.inputs = ObservationInputs(self, self._observe)
        # Re-entrant: ending a goal from within a locked section is common.
        self._lock = threading.RLock()
        self._goal: _Goal | None = None
        self._goals: dict[bytes, _Goal] = {}
        # Only the worker's thread touches this and the policy.
        self._goal_of_policy: _Goal | None = None
        # The newest observation, until it is answered.
        self._latest: PolicyInput | None = None
        self._pairs: Pairing[PolicyInput, tuple[EndEffectorAction, ...]] = Pairing(
            "observation", "expert chunk", PENDING, lambda side: self.stage.dropped(f"{side} without partner")
        )
        self._action_server: ActionServer | None = None

    # --- lifecycle ------------------------------------------------------------------------------------------------

    def configure(self) -> None:
        self._policy = self._choice.make()
        self._policy.load()
        self._chunks = self.create_publisher(ActionChunk, "action_chunk", RELIABLE_QOS)
        self._commands = self.create_publisher(EndEffectorCommand, "command", RELIABLE_QOS)
        # One observation may wait: an older one would only lead to a staler command.
        self._worker = self.start_worker("policy", self._infer, 1, overflow="superseded by a newer observation")
        self._action_server = ActionServer(
            self,
            ExecuteInstruction,
            "execute_instruction",
            execute_callback=self._execute,
            goal_callback=self._on_goal,
            handle_accepted_callback=self._on_accepted,
            cancel_callback=self._on_cancel,
        )
        self.every(WATCH_PERIOD_S, self._watch)

    def activate(self) -> None:
        if self._subscribe_to_perception:
            self.inputs.subscribe()
        if self._policy.needs_expert:
            self.subscribe(ActionChunk, "expert_chunk", self._on_expert_chunk)
        self.on_stop_inputs(self._forget_all)

    def _forget_all(self) -> None:
        with self._lock:
            self._end_current(Result.FAULT, "the server was deactivated")
            # The world may have moved on by the time the server is active again.
            self._latest = None
            self._pairs.clear()

    def cleanup(self) -> None:
        if self._action_server is not None:
            self._action_server.destroy()
            self._action_server = None

    # --- observations ---------------------------------------------------------------------------------------------

    def _observe(self, observation: PolicyInput) -> None:
        """Take one observation; called from the executor's thread, or from the perception's. Thread-safe."""
        with self._lock:
            if not self.is_active:
                return
            if not self._policy.needs_expert:
                self._offer(observation)
            elif pair := self._pairs.add("observation", observation.stamp, observation):
                self._offer(*pair)

    def _on_expert_chunk(self, chunk: ActionChunk) -> None:
        try:
            actions = tuple(command_to_action(command, "expert_chunk") for command in chunk.actions)
        except InputError as error:
            self.reject("expert_chunk", str(error))
            return
        with self._lock:
            if pair := self._pairs.add("expert chunk", stamp_ns(chunk.header), actions):
                self._offer(*pair)

    def _offer(self, observation: PolicyInput, expert: tuple[EndEffectorAction, ...] | None = None) -> None:
        self._latest = observation = replace(observation, expert_actions=expert)
        if self._goal is not None:
            self._worker.submit((self._goal, observation))

    # --- inference ------------------------------------------------------------------------------------------------

    def _infer(self, item: tuple[_Goal, PolicyInput]) -> None:
        goal, observation = item
        if self._goal is not goal:
            self.stage.dropped("goal ended before inference")
            return
        if self._max_age_s and self.latency_s(observation.stamp) > self._max_age_s:
            self.stage.dropped("stale observation")
            return
        started = time.monotonic()
        try:
            if self._goal_of_policy is not goal:
                self._policy.reset()
                self._goal_of_policy = goal
            actions = list(self._policy.predict(replace(observation, instruction=goal.instruction)))
            if not actions:
                raise ValueError("expected at least one action, got none")
            header = make_header(observation.stamp, self._base_frame)
            chunk = make_chunk(actions, self._choice.name, 1.0 / self._control_hz, header)
        except InputError as error:
            self.reject("policy", str(error))
            return
        except Exception as error:  # a policy is a plug-in: whatever it raises must end the goal, never the server
            problem = f"policy {self._choice.name}: {type(error).__name__}: {error}"
            self.reject("policy", problem)
            self._end(goal, Result.FAULT, problem)
            return
        self._publish(goal, chunk, started)

    def _publish(self, goal: _Goal, chunk: ActionChunk, started: float) -> None:
        with self._lock:
            if self._goal is not goal:
                self.stage.dropped("goal ended during inference")
                return
            self._chunks.publish(chunk)
            command = chunk.actions[0]
            self._commands.publish(command)
            stamp = stamp_ns(chunk.header)
            if self._latest is not None and self._latest.stamp == stamp:
                self._latest = None
            latency = self.latency_s(stamp)
            self.stage.published(latency, time.monotonic() - started)
            goal.steps += 1
            goal.chunks += 1
            goal.last_progress = time.monotonic()
            feedback = ExecuteInstruction.Feedback(step=goal.steps, chunk=goal.chunks, command=command)
            feedback.latency = seconds_to_duration(max(latency, 0.0))
            goal.handle.publish_feedback(feedback)

    # --- goals ----------------------------------------------------------------------------------------------------

    def _on_goal(self, request: ExecuteInstruction.Goal) -> GoalResponse:
        problem = ""
        if not self.is_active:
            problem = "the server is not active"
        elif not request.instruction.strip():
            problem = "goal instruction: expected words, got an empty text"
        elif stamp_to_ns(request.time_limit) < 0:
            problem = "goal time_limit: expected 0 (none) or more"
        if problem:
            self.get_logger().error(f"goal rejected: {problem}")
            return GoalResponse.REJECT
        return GoalResponse.ACCEPT

    def _on_accepted(self, handle: ServerGoalHandle) -> None:
        limit = stamp_to_ns(handle.request.time_limit)
        deadline = self.now_ns() + limit if limit else None
        goal = _Goal(handle, handle.request.instruction, deadline, Future(executor=self.executor), time.monotonic())
        with self._lock:
            self._end_current(Result.PREEMPTED, f"a newer goal took over: {goal.instruction}")
            self._goals[bytes(handle.goal_id.uuid)] = goal
            self._goal = goal
            if self._latest is not None:
                # A paused source (lockstep) sends nothing new until its last observation is answered.
                self._worker.submit((goal, self._latest))
        handle.execute()

    def _on_cancel(self, handle: ServerGoalHandle) -> CancelResponse:
        with self._lock:
            if goal := self._goals.get(bytes(handle.goal_id.uuid)):
                self._end(goal, Result.STOPPED, "cancelled by the caller")
        return CancelResponse.ACCEPT

    def _watch(self) -> None:
        with self._lock:
            goal = self._goal
            if goal is None:
                return
            if goal.deadline_ns is not None and self.now_ns() > goal.deadline_ns:
                self._end(goal, Result.TIME_LIMIT, "time limit reached")
            elif self._stall_s and time.monotonic() - goal.last_progress > self._stall_s:
                self._end(
                    goal, Result.STALLED, f"no command for {self._stall_s} s: no fresh observation or no policy output"
                )

    def _end_current(self, outcome: int, reason: str) -> None:
        with self._lock:
            if self._goal is not None:
                self._end(self._goal, outcome, reason)

    def _end(self, goal: _Goal, outcome: int, reason: str) -> None:
        with self._lock:
            if self._goal is not goal:
                return
            self._goal = None
            goal.outcome, goal.reason = outcome, reason
        goal.done.set_result(None)
        # Setting the result does not by itself wake an executor that waits in another thread.
        if self.executor is not None:
            self.executor.wake()

    async def _execute(self, handle: ServerGoalHandle) -> Result:
        goal = self._goals[bytes(handle.goal_id.uuid)]
        await goal.done
        del self._goals[bytes(handle.goal_id.uuid)]
        if goal.outcome == Result.STOPPED:
            handle.canceled()
        elif goal.outcome == Result.TIME_LIMIT:
            handle.succeed()
        else:
            handle.abort()
        self.get_logger().info(f"goal ended after {goal.steps} steps: {goal.reason}")
        return Result(outcome=goal.outcome, reason=goal.reason, steps=goal.steps, chunks=goal.chunks)


def main() -> None:
    run(VlaServerNode)


if __name__ == "__main__":
    main()
