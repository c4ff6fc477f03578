"""Node ``sim_bridge``: a simulator in place of the robot and the camera.

It runs the episodes: it resets the scene and the perception's buffers, sends the instruction as a goal, and then
alternates observations and commands until the task succeeds or its time is up.

Pacing
* ``lockstep``: simulated time stands still until the command that answers the observation arrives. Deterministic. An
  unanswered observation is sent again under a new stamp (a node may have been killed, or not be there yet); at the
  start of an episode, after another reset.
* ``realtime``: one control step per control period of wall-clock time. At each tick the newest command is executed
  once; without a new one the arm holds its target pose. A policy slower than a period therefore loses steps, as on a
  robot, unless further actions of its last chunk fill them. These carry the same stamp as the first.
"""

import concurrent.futures
import threading
import time
import traceback

from rclpy.duration import Duration

from stvla_ros.control.actions import EndEffectorAction
from stvla_ros.control.command_identity import CommandIdentity
from stvla_ros.msg import ActionChunk, EpisodeState
from stvla_ros.nodes.kit.awaited_subscribers import AwaitedSubscribers
from stvla_ros.nodes.kit.base import RELIABLE_QOS, STATE_QOS, StvlaNode, run
from stvla_ros.nodes.kit.messages import make_chunk, make_header
from stvla_ros.nodes.server.goal_client import EpisodeGoal
from stvla_ros.nodes.simulation.bridge_commands import BridgeCommands
from stvla_ros.nodes.simulation.command_inbox import Received
from stvla_ros.nodes.simulation.joint_plant import JointPlant
from stvla_ros.nodes.simulation.observation_outputs import ObservationOutputs
from stvla_ros.nodes.simulation.parameters import declare_bridge
from stvla_ros.nodes.simulation.reset_services import CALL_TIMEOUT_S, ResetServices, wait_for
from stvla_ros.sim.environment import Environment, Observation, StepResult
from stvla_ros.sim.tasks import make_environment

# Time for a simulator to end its current step or reset when the node stops.
STOP_TIMEOUT_S = 30.0
# Time for a subscriber to take the message that an episode begins; one that hangs does not hold up the others.
ACKNOWLEDGE_TIMEOUT_S = 2.0


class GaveUp(Exception):
    """Nobody answers the observations of an episode."""


class SimBridgeNode(StvlaNode):
    def __init__(self) -> None:
        super().__init__("sim_bridge")
        self._asked = declare_bridge(self)
        self._listeners = AwaitedSubscribers(self)
        self._commands = BridgeCommands(self)
        self._stopping = threading.Event()
        self._simulator: concurrent.futures.ThreadPoolExecutor | None = None
        self._environment: Environment | None = None
        self._goal: EpisodeGoal | None = None
        self._late = 0
        self._held = 0
        self._continued = 0
        self._newest_answered = 0
        # Result of the last control period in which a driver moved the arm.
        self._seen: StepResult
        self.exit_code: int | None = None

    # --- lifecycle ------------------------------------------------------------------------------------------------

    def configure(self) -> None:
        asked = self._asked
        asked.check()
        # The simulator runs in one thread; the executor's stays free to receive.
        self._simulator = concurrent.futures.ThreadPoolExecutor(max_workers=1, thread_name_prefix="simulator")
        self._environment = self._simulator.submit(make_environment, asked.task, image_size=asked.image_size).result()
        self._info = self._environment.info
        self._plant = JointPlant(self, self._environment, self._stopping) if asked.joint_level else None
        self._outputs = ObservationOutputs(self, self._info)
        self._commands.serve(self._info, asked.joint_level)
        self._expert = self.create_publisher(ActionChunk, "expert_chunk", RELIABLE_QOS)
        self._state = self.create_publisher(EpisodeState, "episode_state", STATE_QOS)
        self._perception = ResetServices(self, asked.reset_services, self._stopping)
        self._goal = EpisodeGoal(self)
        self.get_logger().info(f"task {asked.task}: {self._info.robot}, {self._info.control_hz:g} Hz, {asked.pacing}")

    def activate(self) -> None:
        """Start the first episode."""
        self._stopping.clear()
        self._commands.subscribe()
        if self._plant is not None:
            self._plant.listen()
        running = self._simulator.submit(self._run)
        self.on_stop_inputs(lambda: self._stop(running))

    def cleanup(self) -> None:
        if self._environment is not None:
            self._simulator.submit(self._environment.close).result()
            self._environment = None
        if self._simulator is not None:
            self._simulator.shutdown()
            self._simulator = None
        if self._goal is not None:
            self._goal.destroy()
            self._goal = None

    def _stop(self, running: concurrent.futures.Future) -> None:
        self._stopping.set()
        self._commands.inbox.close()
        concurrent.futures.wait([running], STOP_TIMEOUT_S)

    def extra_diagnostics(self) -> dict[str, int]:
        return {"late_commands": self._late, "held_steps": self._held, "continued_steps": self._continued}

    # --- episodes (simulator thread) ------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            if missing := self._listeners.wait(self._stopping, self._asked.give_up_s):
                within = f"{self._asked.give_up_s:g} s"
                self.get_logger().error(f"expected subscribers within {within}, did not come: {missing}")
                self.exit_code = 1
                return
            index = 0
            while not self._stopping.is_set() and (not self._asked.episodes or index < self._asked.episodes):
                self._episode(index)
                index += 1
            if not self._stopping.is_set():
                self._say(EpisodeState.FINISHED)
        except GaveUp as error:
            self.get_logger().error(str(error))
            self._say(EpisodeState.FAILED, str(error))
            self.exit_code = 1
        except Exception as error:
            if self.context.ok():  # otherwise publishers fail because the process ends
                traceback.print_exception(error)
                self.reject("simulator", f"simulator: {type(error).__name__}: {error}")
                self.exit_code = 1
        finally:
            if self.context.ok():
                self._goal.cancel()

    def _episode(self, index: int) -> None:
        environment = self._environment
        self._index, self._step_number = index, 0
        self._episode_id = (self._asked.first_episode + index) % self._info.num_episodes
        if self._plant is None:
            observation = environment.reset(self._episode_id, self._asked.seed)
        else:
            observation = self._plant.reset(self._episode_id, self._asked.seed)
            self._let_pass(0.0)
        self._limit = self._asked.max_steps or self._info.max_steps
        self._say(EpisodeState.RESETTING)
        # Messages still on their way belong to the episode before; all subscribers must know that before the next
        # request.
        self._state.wait_for_all_acked(Duration(seconds=ACKNOWLEDGE_TIMEOUT_S))
        self._commands.inbox.clear()
        self._newest_answered = 0
        execute = self._ask if self._asked.pacing == "lockstep" else self._realtime
        if self._asked.pacing == "realtime":
            # The clock starts when the graph answers; its start-up would otherwise count as the policy's latency.
            self._ask(observation)
            self._perception.reset(time.monotonic() + self._asked.give_up_s)
            # The server answers one observation per control period, and has just answered one.
            self._let_pass(1.0 / self._info.control_hz)
            if self._plant is not None:
                observation = self._seen.observation
        success = False
        self._began = self.now_ns()
        self._last_answer = time.monotonic()
        self._next_tick = time.monotonic()
        for step in range(self._limit):
            self._step_number = step
            action = execute(observation)
            if action is None:
                return
            # With joints driven by the driver, the world went on while the command was awaited.
            result = environment.step(action) if self._plant is None else self._seen
            observation = result.observation
            if result.success:
                success = True
                break
        self._step_number += 1
        phase = EpisodeState.SUCCEEDED if success else EpisodeState.FAILED
        # The final observation is shown, but not answered: the goal ends first.
        self._end_goal()
        stamp = self.now_ns()
        self._say(phase, "success condition holds" if success else "time limit", stamp)
        self._outputs.publish(observation, stamp)

    def _realtime(self, observation: Observation) -> EndEffectorAction | None:
        self._tend_goal()
        stamp = self._publish(observation)
        self._next_tick += 1.0 / self._info.control_hz
        behind = time.monotonic() - self._next_tick
        if behind > 0:
            # The simulator itself is too slow for real time; catching up would only bunch the steps.
            self.stage.dropped("control period overrun by the simulator")
            self._next_tick += behind
        elif self._plant is None and self._stopping.wait(-behind):
            return None
        if self._plant is not None:
            self._seen = self._plant.run(self._next_tick - 1.0 / self._info.control_hz)
            if self._stopping.is_set():
                return None
        newest = self._commands.inbox.take_newest(self._began)
        if newest is None:
            self._held += 1
            if time.monotonic() - self._last_answer > self._asked.resend_s:
                self._goal.doubt()
                self._last_answer = time.monotonic()
            return EndEffectorAction.hold(observation.gripper)
        self._commands.judge(newest)
        answered, action = newest.stamp, newest.action
        if answered > self._newest_answered:
            self._late += answered != stamp
            self._newest_answered = answered
            self._count_answer(answered)
        else:
            # A further action of a chunk: on time, though the observation is older.
            self._continued += 1
            self._last_answer = time.monotonic()
        return action

    def _ask(self, observation: Observation) -> EndEffectorAction | None:
        """Publish until a command answers. :raises GaveUp: when none comes for ``give_up_after``."""
        stamps: set[int] = set()
        give_up_at = time.monotonic() + self._asked.give_up_s
        while not self._stopping.is_set():
            if self._step_number == 0:
                self._perception.reset(give_up_at)
            waits_until = time.monotonic() + self._asked.resend_s
            while not self._tend_goal() and time.monotonic() < waits_until and not self._let_pass(0.01):
                pass
            stamps.add(self._publish(observation if self._plant is None else self._seen.observation))
            if answer := self._answer(stamps):
                self._commands.judge(answer)
                self._count_answer(answer.stamp)
                return answer.action
            if self._stopping.is_set():
                return None
            self._goal.doubt()
            self.stage.dropped("observation sent again")
            commanders = self.count_publishers(self.resolve_topic_name("command"))
            self.get_logger().warning(
                f"topic command: no answer in {self._asked.resend_s:g} s ({commanders} publishers); sending again"
            )
            if time.monotonic() > give_up_at:
                raise GaveUp(
                    f"topic command: nothing answered the observations for {self._asked.give_up_s:g} s "
                    f"({commanders} publishers)"
                )
        return None

    def _answer(self, stamps: set[int]) -> Received | None:
        """The command that answers one of the stamps, if it comes within ``resend_after``."""
        if self._plant is None:
            return self._commands.inbox.wait_for(stamps, self._asked.resend_s)
        ends, answer = time.monotonic() + self._asked.resend_s, None
        while answer is None and time.monotonic() < ends and not self._let_pass(0.0):
            answer = self._commands.inbox.wait_for(stamps, 0.0)
        return answer

    def _let_pass(self, seconds: float) -> bool:
        """Wait. An arm under its driver goes on meanwhile, for whole control periods: a person may move it.

        :returns: whether the node stops.
        """
        if self._plant is None:
            return self._stopping.wait(seconds)
        self._seen = self._plant.run()
        return self._stopping.is_set()

    def _publish(self, observation: Observation) -> int:
        started = time.monotonic()
        stamp = self.now_ns()
        self._commands.show(stamp)
        self._say(EpisodeState.RUNNING, "", stamp)
        expert = self._environment.expert_action()
        if expert is not None:
            header, period_s = make_header(stamp, self._info.base_frame), 1.0 / self._info.control_hz
            proposal = CommandIdentity(self._info.robot)
            self._expert.publish(make_chunk([expert], "expert", period_s, header, proposal))
        self._outputs.publish(observation, stamp)
        self._publishing_s = time.monotonic() - started
        return stamp

    def _count_answer(self, stamp: int) -> None:
        self._last_answer = time.monotonic()
        self.stage.published(self.latency_s(stamp), self._publishing_s)

    def _say(self, phase: int, reason: str = "", stamp: int | None = None) -> None:
        state = EpisodeState(
            task=self._asked.task, instruction=self._environment.instruction, episode_id=self._episode_id
        )
        state.run = self.run.name
        state.header = make_header(self.now_ns() if stamp is None else stamp, self._info.base_frame)
        state.index, state.total = self._index, self._asked.episodes
        state.step, state.max_steps, state.phase, state.reason = self._step_number, self._limit, phase, reason
        self._state.publish(state)

    # --- goals (simulator thread) ------------------------------------------------------------------------------------

    def _tend_goal(self) -> bool:
        return not self._asked.send_goals or self._goal.tend(self._environment.instruction)

    def _end_goal(self) -> None:
        ended = self._goal.cancel()
        if ended is not None and not wait_for(ended, self._stopping, CALL_TIMEOUT_S) and not self._stopping.is_set():
            self.get_logger().warning(f"action execute_instruction: the goal did not end in {CALL_TIMEOUT_S:g} s")


def main() -> None:
    run(SimBridgeNode)


if __name__ == "__main__":
    main()
