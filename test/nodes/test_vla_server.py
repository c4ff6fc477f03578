"""The action server as a client sees it: a real server process, the test in the place of perception and robot."""

import time
from array import array
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from action_msgs.msg import GoalStatus
from builtin_interfaces.msg import Duration
from camera_frames import INTRINSICS
from command_goals import verdict_on
from live_graph import LiveGraph, live_graph
from node_process import TIMEOUT_S
from rclpy.action import ActionClient
from sensor_msgs.msg import CameraInfo, Image

from stvla_ros.action import ExecuteInstruction
from stvla_ros.control.actions import EndEffectorAction
from stvla_ros.control.command_identity import CommandIdentity
from stvla_ros.msg import ActionChunk, EndEffectorCommand
from stvla_ros.nodes.kit.messages import array_to_image, make_camera_info, make_chunk, make_header, stamp_ns

Result = ExecuteInstruction.Result
RGB = np.zeros((120, 160, 3), np.uint8)
TRACED = np.full((224, 224), 0.8, np.float32)
CONTROL_HZ = 5.0
PROPOSAL = CommandIdentity("widowx")
STALL_S = 6.0  # more than a busy machine takes between two commands


class Robot:
    """Sends observations with the expert's answer, and keeps what comes back with its time of arrival."""

    def __init__(self, graph: LiveGraph) -> None:
        self.graph = graph
        # Each answered observation leads to one command, the policy's action itself.
        self.process = graph.start(
            "vla_server",
            policy="expert",
            control_hz=CONTROL_HZ,
            base_frame="base",
            stall_timeout=STALL_S,
            execution="receding",
            # A busy machine may take seconds over one observation.
            max_observation_age=20.0,
            allow_preemption=True,
        )
        self.chunks = graph.listen(ActionChunk, "action_chunk")
        self.commands = graph.listen(EndEffectorCommand, "command")
        self._before = 0
        self.client = ActionClient(graph.node, ExecuteInstruction, "execute_instruction")
        graph.until(self.client.server_is_ready, "action server")
        self.feedback: list[ExecuteInstruction.Feedback] = []

    def observe(
        self,
        gripper: float = 0.5,
        stamp: int | None = None,
        depth: Image | None = None,
        chunk: ActionChunk | None = None,
    ) -> int:
        stamp = stamp or self.graph.node.get_clock().now().nanoseconds
        header = make_header(stamp, "camera")
        action = EndEffectorAction(np.array([0.01, 0.02, 0.03]), np.array([0.1, 0.2, 0.3]), gripper)
        self.graph.publish(
            "expert_chunk", chunk or make_chunk([action, action], "expert", 0.2, make_header(stamp, "base"), PROPOSAL)
        )
        self.graph.publish("camera_info", make_camera_info(INTRINSICS, 160, 120, header))
        self.graph.publish("image", array_to_image(RGB, "rgb8", header))
        depth = depth or array_to_image(TRACED, "32FC1", header)
        depth.header = header
        self.graph.publish("traced_depth", depth)
        return stamp

    def send(self, instruction: str = "stack the cubes", limit_s: float = 0.0) -> Any:
        """:return: the goal handle, accepted or not."""
        goal = ExecuteInstruction.Goal(instruction=instruction)
        before = len(self.commands)
        goal.time_limit = Duration(sec=int(limit_s), nanosec=round(limit_s % 1 * 1e9))
        sent = self.graph.begin(
            self.client.send_goal_async, goal, feedback_callback=lambda message: self.feedback.append(message.feedback)
        )
        handle = self.graph.result(sent, "answer to the goal")
        if handle.accepted:
            self._before = before
        return handle

    def end(self, handle: Any, timeout_s: float = 30.0) -> Any:
        return self.graph.result(self.graph.begin(handle.get_result_async), "result of the goal", timeout_s)

    def command_for(self, stamp: int) -> EndEffectorCommand:
        found = lambda: next((c for c in self.commands if stamp_ns(c.header) == stamp), None)  # noqa: E731
        return self.graph.until(found, f"command for {stamp}; {self.process.output}")

    def goal_with_commands(self, instruction: str = "stack the cubes") -> Any:
        """A goal that runs, seen by its first command."""
        handle = self.send(instruction)
        assert handle.accepted
        count = len(self.commands)

        def commanded() -> bool:
            self.observe()
            time.sleep(0.02)
            return len(self.commands) > count

        self.graph.until(commanded, "the first command")
        time.sleep(1.5 / CONTROL_HZ)  # the next one may come then
        return handle

    def silent_after(self, result: Any, seconds: float = 0.5) -> None:
        """Observations go on, and no command comes but those that had left by the end of the last goal."""
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            self.observe()
            time.sleep(0.02)
        since = lambda: len(self.commands) - self._before  # noqa: E731
        self.graph.until(lambda: since() >= result.steps, "the last command")
        assert since() == result.steps


@pytest.fixture(scope="module")
def robot(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Robot]:
    with live_graph(tmp_path_factory.mktemp("live")) as graph:
        robot = Robot(graph)
        for topic in (
            ("image", Image),
            ("camera_info", CameraInfo),
            ("traced_depth", Image),
            ("expert_chunk", ActionChunk),
        ):
            graph.until(lambda: graph.node.count_subscribers(topic[0]), topic[0])
        yield robot
        robot.client.destroy()


@pytest.fixture(autouse=True)
def alive(robot: Robot) -> Iterator[None]:
    robot.feedback.clear()
    yield
    assert robot.process.alive()
    assert "Traceback" not in robot.process.output


@pytest.mark.parametrize("instruction", ["", "   \n"])
def test_a_goal_without_words_is_rejected(instruction: str, robot: Robot) -> None:
    assert not robot.send(instruction).accepted
    assert "goal rejected: goal instruction: expected words" in robot.process.output


def test_a_negative_time_limit_is_rejected(robot: Robot) -> None:
    assert not robot.send(limit_s=-5.0).accepted


def test_nothing_is_commanded_without_a_goal(robot: Robot) -> None:
    count = len(robot.commands)
    for _ in range(10):
        robot.observe()
        time.sleep(0.02)
    time.sleep(0.2)
    assert len(robot.commands) == count


def test_a_command_answers_its_observation_with_the_policys_first_action(robot: Robot) -> None:
    handle = robot.goal_with_commands()
    stamp = robot.observe(gripper=0.25)
    command = robot.command_for(stamp)
    assert command.header.frame_id == "base"
    assert (command.translation.x, command.rotation.z, command.gripper) == (0.01, 0.3, 0.25)
    chunk = robot.graph.until(lambda: next((c for c in robot.chunks if stamp_ns(c.header) == stamp), None), "chunk")
    assert chunk.policy == "expert"
    assert len(chunk.actions) == 2
    assert chunk.actions[0] == command
    assert chunk.period == Duration(nanosec=round(1e9 / CONTROL_HZ))
    robot.graph.ask(handle.cancel_goal_async, "cancel")
    robot.end(handle)


def test_the_order_of_observation_and_expert_does_not_matter(robot: Robot) -> None:
    handle = robot.goal_with_commands()
    stamp = robot.graph.node.get_clock().now().nanoseconds
    header = make_header(stamp, "camera")
    robot.graph.publish("traced_depth", array_to_image(TRACED, "32FC1", header))
    robot.graph.publish("image", array_to_image(RGB, "rgb8", header))
    time.sleep(0.2)
    robot.graph.publish("expert_chunk", make_chunk([EndEffectorAction.hold(1.0)] * 9, "expert", 0.2, header, PROPOSAL))
    assert robot.command_for(stamp).gripper == 1.0
    robot.graph.ask(handle.cancel_goal_async, "cancel")
    robot.end(handle)


def test_feedback_tells_step_chunk_command_and_latency(robot: Robot) -> None:
    handle = robot.goal_with_commands()
    first = len(robot.feedback)
    stamp = robot.observe()
    command = robot.command_for(stamp)
    robot.graph.until(lambda: len(robot.feedback) > first, "feedback")
    feedback = robot.feedback[-1]
    assert feedback.command == command
    # Of two chunks within a control period only the newer one's action leaves.
    assert feedback.step == len(robot.feedback) <= feedback.chunk
    assert 0 < feedback.latency.sec + feedback.latency.nanosec * 1e-9 < 5.0
    robot.graph.ask(handle.cancel_goal_async, "cancel")
    assert robot.end(handle).result.steps == feedback.step


def test_after_the_answer_to_a_cancel_no_command_comes(robot: Robot) -> None:
    handle = robot.goal_with_commands()
    answer = robot.graph.ask(handle.cancel_goal_async, "answer to the cancel")
    assert len(answer.goals_canceling) == 1
    ended = robot.end(handle)
    assert ended.status == GoalStatus.STATUS_CANCELED
    assert (ended.result.outcome, ended.result.reason) == (Result.STOPPED, "cancelled by the caller")
    robot.silent_after(ended.result)


def test_a_cancel_of_a_goal_that_ended_changes_nothing(robot: Robot) -> None:
    handle = robot.goal_with_commands()
    robot.graph.ask(handle.cancel_goal_async, "cancel")
    robot.end(handle)
    newer = robot.goal_with_commands()
    assert not robot.graph.ask(handle.cancel_goal_async, "second cancel").goals_canceling
    robot.command_for(robot.observe())
    robot.graph.ask(newer.cancel_goal_async, "cancel")
    assert robot.end(newer).result.outcome == Result.STOPPED


def test_a_newer_goal_takes_over(robot: Robot) -> None:
    older = robot.goal_with_commands("first")
    newer = robot.send("second")
    assert newer.accepted
    ended = robot.end(older)
    assert ended.status == GoalStatus.STATUS_ABORTED
    assert (ended.result.outcome, ended.result.reason) == (Result.PREEMPTED, "a newer goal took over: second")
    assert ended.result.steps >= 1
    robot.command_for(robot.observe())
    robot.graph.ask(newer.cancel_goal_async, "cancel")
    assert robot.end(newer).result.outcome == Result.STOPPED


def test_a_new_goal_answers_no_observation_from_before(robot: Robot) -> None:
    robot.observe()
    time.sleep(0.1)
    count = len(robot.commands)
    for instruction in ("first", "second"):
        handle = robot.send(instruction)
        time.sleep(0.3)
        assert len(robot.commands) == count
    robot.command_for(robot.observe())
    robot.graph.ask(handle.cancel_goal_async, "cancel")
    robot.end(handle)


def test_a_verdict_on_an_earlier_goals_command_counts_for_no_other(robot: Robot) -> None:
    earlier = robot.goal_with_commands("first")
    command = robot.commands[-1]
    newer = robot.goal_with_commands("second")
    robot.graph.publish("command_verdict", verdict_on(command, refused="held: estop"))
    robot.graph.until(
        lambda: robot.graph.values("vla_server").get("dropped (verdict on an earlier goal's command)"), "it is counted"
    )
    robot.graph.ask(newer.cancel_goal_async, "cancel")
    assert robot.end(newer).result.refused == 0
    robot.end(earlier)


def test_many_goals_at_once_leave_exactly_one_running(robot: Robot) -> None:
    goals = [ExecuteInstruction.Goal(instruction=f"goal {i}") for i in range(8)]
    futures = [robot.graph.begin(robot.client.send_goal_async, goal) for goal in goals]
    handles = [robot.graph.result(future, "answer") for future in futures]
    assert all(handle.accepted for handle in handles)
    outcomes = [robot.end(handle).result.outcome for handle in handles[:-1]]
    assert outcomes == [Result.PREEMPTED] * 7
    robot.command_for(robot.observe())
    robot.graph.ask(handles[-1].cancel_goal_async, "cancel")
    assert robot.end(handles[-1]).result.outcome == Result.STOPPED


def test_the_time_limit_ends_the_goal_and_the_commands(robot: Robot) -> None:
    began = time.monotonic()
    handle = robot.send(limit_s=0.5)
    result = robot.graph.begin(handle.get_result_async)
    while not result.done():
        robot.observe()
        time.sleep(0.02)
        assert time.monotonic() - began < TIMEOUT_S
    assert time.monotonic() - began >= 0.5
    assert result.result().status == GoalStatus.STATUS_SUCCEEDED
    assert (result.result().result.outcome, result.result().result.reason) == (Result.TIME_LIMIT, "time limit reached")
    robot.silent_after(result.result().result, 0.3)


def test_without_observations_the_goal_stalls(robot: Robot) -> None:
    began = time.monotonic()
    ended = robot.end(robot.send())
    assert time.monotonic() - began >= STALL_S
    assert ended.status == GoalStatus.STATUS_ABORTED
    assert ended.result.outcome == Result.STALLED
    assert f"no command executed for {STALL_S} s" in ended.result.reason


def test_a_stale_observation_is_not_acted_on(robot: Robot) -> None:
    handle = robot.goal_with_commands()
    old = robot.observe(stamp=robot.graph.node.get_clock().now().nanoseconds - 60_000_000_000)
    # Waited for: else the next one supersedes it before the policy sees it.
    robot.graph.until(
        lambda: robot.graph.values("vla_server").get("dropped (stale observation)"), "the drop is counted"
    )
    robot.command_for(robot.observe())
    assert old not in [stamp_ns(command.header) for command in robot.commands]
    robot.graph.ask(handle.cancel_goal_async, "cancel")
    robot.end(handle)


def _chunk(value: float) -> ActionChunk:
    chunk = make_chunk([EndEffectorAction.hold(0.5)], "expert", 0.2, make_header(1, "base"), PROPOSAL)
    chunk.actions[0].translation.x = value
    return chunk


@pytest.mark.parametrize(
    ("chunk", "text"),
    [
        (_chunk(float("nan")), "topic expert_chunk: action translation: expected 3 finite numbers"),
        (_chunk(float("inf")), "topic expert_chunk: action translation: expected 3 finite numbers"),
        (ActionChunk(), "policy expert: expected the simulator's expert actions, got none"),
    ],
    ids=["nan", "infinite", "empty"],
)
def test_a_useless_expert_chunk_is_told_and_survived(chunk: ActionChunk, text: str, robot: Robot) -> None:
    handle = robot.goal_with_commands()
    stamp = robot.graph.node.get_clock().now().nanoseconds
    chunk.header = make_header(stamp, "base")
    robot.observe(stamp=stamp, chunk=chunk)
    robot.graph.says("vla_server", text)
    assert stamp not in [stamp_ns(command.header) for command in robot.commands]
    handle = robot.goal_with_commands()
    robot.graph.ask(handle.cancel_goal_async, "cancel")
    robot.end(handle)


def _depth(change: str) -> Image:
    depth = TRACED.copy()
    if change == "nan":
        depth[3, 3] = np.nan
    message = array_to_image(depth, "32FC1", make_header(1, "camera"))
    if change == "truncated":
        message.data = message.data[:-4]
    elif change == "encoding":
        message.encoding = "rgb8"
    elif change == "empty":
        message.width, message.data = 0, array("B")
    return message


@pytest.mark.parametrize("change", ["nan", "truncated", "encoding", "empty"])
def test_a_broken_traced_depth_is_told_and_survived(change: str, robot: Robot) -> None:
    robot.observe(depth=_depth(change))
    robot.graph.says("vla_server", "topic traced_depth: expected")
    handle = robot.goal_with_commands()
    robot.graph.ask(handle.cancel_goal_async, "cancel")
    robot.end(handle)


def test_impossible_intrinsics_are_told_and_survived(robot: Robot) -> None:
    robot.graph.publish("camera_info", CameraInfo())
    robot.graph.says("vla_server", "topic camera_info: ")
    handle = robot.goal_with_commands()
    robot.graph.ask(handle.cancel_goal_async, "cancel")
    robot.end(handle)


def test_deactivation_ends_the_goal_and_the_commands_and_rejects_new_goals(robot: Robot) -> None:
    handle = robot.goal_with_commands()
    result = robot.graph.begin(handle.get_result_async)
    assert robot.graph.change_state("vla_server", "deactivate")
    ended = robot.graph.result(result, "result")
    assert ended.status == GoalStatus.STATUS_ABORTED
    assert (ended.result.outcome, ended.result.reason) == (Result.FAULT, "the server was deactivated")
    assert not robot.send().accepted
    robot.silent_after(ended.result)
    robot.graph.says("vla_server", "not active")
    assert robot.graph.change_state("vla_server", "activate")


def test_after_reactivation_no_observation_from_before_is_acted_on(robot: Robot) -> None:
    handle = robot.goal_with_commands()
    robot.graph.ask(handle.cancel_goal_async, "cancel")
    robot.end(handle)
    robot.observe()  # nobody answers it: it would wait for the next goal
    time.sleep(0.2)
    assert robot.graph.change_state("vla_server", "deactivate")
    assert robot.graph.change_state("vla_server", "activate")
    count = len(robot.commands)
    handle = robot.send()
    assert handle.accepted
    time.sleep(0.3)
    assert len(robot.commands) == count
    handle = robot.goal_with_commands()
    robot.graph.ask(handle.cancel_goal_async, "cancel")
    robot.end(handle)


def test_cleanup_and_configure_give_one_server_again(robot: Robot) -> None:
    for transition in ("deactivate", "cleanup", "configure", "activate"):
        assert robot.graph.change_state("vla_server", transition), transition
    robot.graph.until(lambda: robot.graph.node.count_publishers("command") == 1, "one publisher of commands")
    robot.graph.until(robot.client.server_is_ready, "action server")
    before = len(robot.commands)
    handle = robot.goal_with_commands()
    stamp = robot.observe()
    robot.command_for(stamp)
    time.sleep(0.2)
    assert [stamp_ns(command.header) for command in robot.commands[before:]].count(stamp) == 1
    robot.graph.ask(handle.cancel_goal_async, "cancel")
    assert robot.end(handle).result.outcome == Result.STOPPED


def test_ctrl_c_with_a_running_goal_ends_quietly(robot: Robot, tmp_path_factory: pytest.TempPathFactory) -> None:
    with live_graph(tmp_path_factory.mktemp("live")) as graph:
        process = graph.start("vla_server", "other", policy="expert", input_timeout=3600.0)
        client = ActionClient(graph.node, ExecuteInstruction, "/other/execute_instruction")
        graph.until(client.server_is_ready, "action server")
        assert graph.ask(lambda: client.send_goal_async(ExecuteInstruction.Goal(instruction="x")), "goal").accepted
        assert process.interrupt() == 0
        assert process.output == ""
        client.destroy()


def test_what_the_driver_clipped_and_refused_reaches_the_caller(robot: Robot) -> None:
    handle = robot.goal_with_commands()
    command = robot.commands[-1]
    robot.graph.publish("command_verdict", verdict_on(command, executed=True, clipped=["workspace"]))
    robot.graph.publish("command_verdict", verdict_on(command, refused="held: estop"))

    def told() -> bool:
        robot.observe()
        time.sleep(0.02)
        return robot.feedback[-1].refused == "held: estop"

    robot.graph.until(told, "the refusal in the feedback")
    robot.graph.ask(handle.cancel_goal_async, "the cancellation")
    result = robot.end(handle).result
    assert (result.clipped, result.refused, result.last_refusal) == (1, 1, "held: estop")
