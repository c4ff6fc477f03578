"""Node ``vla_server``: the ExecuteInstruction action server around a policy.

One goal at a time; a newer one is rejected, or replaces the running one. Inference runs in a thread of its own, and in
realtime the due commands do, too. A command is published only while its goal is active, so nothing more is sent after a
cancel, a replacement, a time limit or a stall.
"""

import threading
import time
from dataclasses import replace
from typing import Any

from stvla_ros.action import ExecuteInstruction
from stvla_ros.control.chunk_execution import Due
from stvla_ros.errors import DeviceLost, InputError
from stvla_ros.msg import ActionChunk, CommandVerdict, EndEffectorCommand
from stvla_ros.nodes.kit.base import RELIABLE_QOS, StvlaNode, run
from stvla_ros.nodes.kit.episodes import Episodes
from stvla_ros.nodes.kit.messages import (
    action_to_command,
    make_chunk,
    make_header,
    seconds_to_duration,
    stamp_ns,
)
from stvla_ros.nodes.kit.threads import Alarm
from stvla_ros.nodes.kit.verdicts import told_moved
from stvla_ros.nodes.server.command_schedule import CommandSchedule
from stvla_ros.nodes.server.instruction_goals import Goal, InstructionGoals
from stvla_ros.nodes.server.needed_inputs import NeededInputs
from stvla_ros.nodes.server.observation_inputs import ObservationInputs
from stvla_ros.nodes.server.parameters import declare_policy
from stvla_ros.nodes.server.question_service import QuestionService
from stvla_ros.nodes.server.thought_outputs import ThoughtOutputs
from stvla_ros.policy.base import MAIN_CAMERA, Answer, InputNeeds, Policy, PolicyInput
from stvla_ros.policy.completion import InputCompletion
from stvla_ros.policy.observer import VIEWS
from stvla_ros.robots.embodiments import find_embodiment

Result = ExecuteInstruction.Result

# The inputs that the graph can supply to a policy.
GIVEN = InputNeeds((MAIN_CAMERA,), state=("joints",), history_s=float("inf"), committed=True, expert=True)
# Reasons under which input is counted that came too late.
BEFORE_GOAL = "observation from before its goal"
EPISODE_OVER = "observation of an episode that is over"
EARLIER_VERDICT = "verdict on an earlier goal's command"


class VlaServerNode(StvlaNode):
    """:param subscribe_to_perception: whether the node takes observations from topics; False when the perception in the
    same process feeds :attr:`inputs` (fused).
    """

    def __init__(self, subscribe_to_perception: bool = True) -> None:
        super().__init__("vla_server")
        self._subscribe_to_perception = subscribe_to_perception
        self._choice = declare_policy(self)
        robot = self.parameter("robot", "widowx", "embodiment that the commands are for, or its YAML file")
        self._base_frame = self.parameter("base_frame", "base_link", "frame_id of the commands: the robot's base link")
        embodiment = find_embodiment(robot)
        self._schedule = CommandSchedule(self, self._choice.execution, embodiment.caps)
        view, oldest_s = VIEWS[self._choice.traces], self._schedule.oldest_s
        self.inputs = ObservationInputs(self, self._observe, view, oldest_s, self._on_restart)
        self._questions = QuestionService(self)
        self._episodes = Episodes(self, self._on_episode)
        # Re-entrant: a goal is often ended from within a locked section.
        self._lock = threading.RLock()
        self._goals = InstructionGoals(self, self._lock, embodiment.name, self._begin, self._schedule.reset)
        # Number of episodes that began or ended. A goal may last longer than an episode, but nothing else of the
        # episode may.
        self._episode = 0
        # Goal and episode that the policy was reset for. Only the policy's own thread touches this and the policy.
        self._policy_is_for: tuple[Goal, int] | None = None
        self._policy: Policy | None = None
        # In lockstep: the newest observation, until it is answered.
        self._waiting: PolicyInput | None = None
        self._alarm: Alarm | None = None
        self._verdict = CommandVerdict(executed=True)

    # --- lifecycle ------------------------------------------------------------------------------------------------

    def configure(self) -> None:
        self._policy = self._choice.make()
        self._policy.load()
        self._policy.needs.require(self._choice.name, GIVEN, "the graph")
        self._completion = InputCompletion(self._policy.needs)
        self._needed = NeededInputs(self, self._policy.needs, self._lock, self._offer)
        self._chunks = self.create_publisher(ActionChunk, "action_chunk", RELIABLE_QOS)
        self._commands = self.create_publisher(EndEffectorCommand, "command", RELIABLE_QOS)
        self._thoughts = ThoughtOutputs(self)
        self._questions.serve(self._policy, self._thoughts)
        # Only one observation may wait: an older one would only lead to a staler command.
        self._worker = self.start_worker("policy", self._answer, 1, overflow="superseded by a newer observation")
        if not self._schedule.lockstep:
            self._alarm = Alarm("commands", self._command_when_due, self.survive)
        self._goals.serve()

    def activate(self) -> None:
        if self._subscribe_to_perception:
            self.inputs.subscribe()
        self._episodes.subscribe()
        self._needed.subscribe()
        self._goals.listen()
        self._questions.listen()
        # In simulation there is no driver, and none is needed.
        self.subscribe(CommandVerdict, "command_verdict", self._on_verdict, watched=False)
        self.on_stop_inputs(self._forget_all)

    def _forget_all(self) -> None:
        with self._lock:
            self._goals.end(self._goals.current, Result.FAULT, "the server was deactivated")
            # The world may have changed by the time the server is active again.
            self._waiting = None
            self._needed.clear()
            self._completion.reset()

    def cleanup(self) -> None:
        if self._alarm is not None:
            self._alarm.stop()
            self._alarm = None
        self._goals.destroy()
        self._questions.forget()
        # Frees memory for a network that another configure may load.
        self._policy = self._policy_is_for = None

    def extra_diagnostics(self) -> dict[str, Any]:
        with self._lock:
            return self._schedule.figures()

    # --- observations ---------------------------------------------------------------------------------------------

    def _observe(self, observation: PolicyInput) -> None:
        """Take one observation; called in the executor's or the perception's thread. Thread-safe."""
        with self._lock:
            if not self.is_active:
                return
            self._questions.saw(observation)
            self._needed.add(observation)

    def _offer(self, observation: PolicyInput) -> None:
        goal, stamp = self._goals.current, observation.stamp
        reason = self._too_old(goal, stamp)
        if not reason:
            observation = self._completion.remember(observation)
            if self._schedule.lockstep:
                self._waiting = observation
            else:
                reason = self._schedule.refusal(stamp) if goal is not None else ""
        if goal is None:
            return
        # In lockstep each observation is answered, with or without inference.
        if reason:
            self.stage.dropped(reason)
        else:
            self._worker.submit((goal, observation))

    def _too_old(self, goal: Goal | None, stamp: int) -> str:
        """The reason why an observation with this stamp tells nothing about the goal; empty when it does, or when there
        is no goal.
        """
        if self._episodes.is_over(stamp):
            return EPISODE_OVER
        if foreign := self._episodes.refusal(stamp):
            return foreign
        first = None if goal is None else goal.first_stamp
        return BEFORE_GOAL if first is not None and stamp < first else ""

    def _begin(self, goal: Goal) -> None:
        self._completion.reset()
        self._verdict = CommandVerdict(executed=True)
        goal.first_stamp = self._schedule.first_stamp(self.inputs.newest_stamp)
        if self._waiting is not None:
            # A paused source sends nothing new until its last observation is answered.
            self._waiting = self._completion.remember(replace(self._waiting, history=()))
            self._worker.submit((goal, self._waiting))

    def _on_episode(self) -> None:
        with self._lock:
            self._episode += 1
            self._schedule.reset()
            self._completion.reset()
            self._needed.forget_episode()
            if self._waiting is not None and self._episodes.is_over(self._waiting.stamp):
                self._waiting = None

    def _on_restart(self) -> None:
        with self._lock:
            if self._goals.current is not None:
                # From here on all stamps are older, but the pictures are newer than the goal.
                self._goals.current.first_stamp = None

    # --- from observation to chunk (policy's thread) --------------------------------------------------------------

    def _answer(self, item: tuple[Goal, PolicyInput]) -> None:
        goal, observation = item
        with self._lock:
            if self._goals.current is not goal:
                self.stage.dropped("goal ended before inference")
                return
            if reason := self._too_old(goal, observation.stamp):
                self.stage.dropped(reason)
                return
            episode = self._episode
            # Checked again: another observation may have been answered since this one came.
            refusal = self._schedule.refusal(observation.stamp)
            if not refusal:
                stamp = observation.stamp
                observation = self._completion.commit(observation, lambda: self._schedule.planned(stamp))
                self._schedule.think(observation.stamp)
            elif not self._schedule.lockstep:
                self.stage.dropped(refusal)
                return
        answer = None if refusal else self._infer(goal, observation, episode)
        if answer is None and not refusal:
            return
        if self._alarm is not None:
            self._alarm.wake()
        if answer is not None:
            # In lockstep published before the command, so that they can be drawn before the next picture.
            self._thoughts.publish(observation, answer.thoughts)
            self._questions.answered(observation, goal.instruction)
        if not self._schedule.lockstep:
            return
        with self._lock:
            if self._goals.current is goal and (due := self._schedule.answer(observation.stamp)):
                self._command(goal, due)

    def _infer(self, goal: Goal, observation: PolicyInput, episode: int) -> Answer | None:
        """Ask the policy and publish its chunk. :return: the answer, None when there is none or its goal has ended."""
        started = time.monotonic()
        try:
            if self._policy_is_for != (goal, episode):
                self._policy.reset()
                self._policy_is_for = (goal, episode)
            answer = self._policy.predict(replace(observation, instruction=goal.instruction))
            if not answer.actions:
                raise ValueError("expected at least one action, got none")
            header = make_header(observation.stamp, self._base_frame)
            chunk = make_chunk(answer.actions, self._choice.name, self._schedule.period_s, header, goal.identity)
        except InputError as error:
            self.reject("policy", str(error))
            with self._lock:
                if self._goals.current is goal:
                    self._schedule.forget_chunks()
            return None
        except DeviceLost as error:
            self._goals.end(goal, Result.FAULT, str(error))
            raise
        except Exception as error:  # a policy is a plug-in: any exception must end the goal, never the server
            problem = f"policy {self._choice.name}: {type(error).__name__}: {error}"
            self.reject("policy", problem)
            self._goals.end(goal, Result.FAULT, problem)
            return None
        with self._lock:
            if self._goals.current is not goal:
                self.stage.dropped("goal ended during inference")
                return None
            if reason := self._too_old(goal, observation.stamp):
                self.stage.dropped(reason)
                return None
            self._chunks.publish(chunk)
            goal.chunks += 1
            self.stage.published(self.latency_s(observation.stamp), time.monotonic() - started)
            self._answered(observation.stamp)
            self._schedule.add(observation.stamp, answer.actions)
        return answer

    # --- commands -------------------------------------------------------------------------------------------------

    def _command_when_due(self) -> float | None:
        """Realtime, called by the alarm. :return: seconds until there is more to do, None when nothing waits."""
        with self._lock:
            if self._goals.current is None:
                return None
            if due := self._schedule.due():
                self._command(self._goals.current, due)
            return self._schedule.wait_s()

    def _command(self, goal: Goal, due: Due) -> None:
        command = action_to_command(due.action, make_header(due.stamp, self._base_frame), goal.identity)
        command.run = self.run.name
        self._commands.publish(command)
        self._goals.commanded(goal)
        goal.command_stamps.append(due.stamp)
        self._answered(due.stamp)
        feedback = ExecuteInstruction.Feedback(step=goal.steps, chunk=goal.chunks, command=command)
        # The driver's answer to an earlier command; for this one there is none yet.
        feedback.clipped, feedback.refused = self._verdict.clipped, self._verdict.refused
        feedback.latency = seconds_to_duration(max(self.latency_s(due.stamp), 0.0))
        goal.handle.publish_feedback(feedback)

    def _answered(self, stamp: int) -> None:
        if self._waiting is not None and self._waiting.stamp == stamp:
            self._waiting = None

    def _on_verdict(self, verdict: CommandVerdict) -> None:
        with self._lock:
            goal = self._goals.current
            if goal is None:
                return
            own = bytes(verdict.goal_id.uuid) == goal.identity.goal_id
            if not own or stamp_ns(verdict.header) not in goal.command_stamps:
                self.stage.dropped(EARLIER_VERDICT)
                return
            self._verdict = verdict
            self._goals.judged(goal, verdict)
            try:
                moved = told_moved(verdict)
            except InputError as error:
                self.reject("command_verdict", str(error))
                moved = None
            self._schedule.judge(stamp_ns(verdict.header), *(moved or (None, 0)))


def main() -> None:
    run(VlaServerNode)


if __name__ == "__main__":
    main()
