"""The action server as a client sees it: goals and commands."""

import time
from collections.abc import Iterator

import pytest
from action_msgs.msg import GoalStatus
from builtin_interfaces.msg import Duration
from command_goals import verdict_on
from node_process import TIMEOUT_S
from server_rig import CONTROL_HZ, PROPOSAL, RGB, STALL_S, TRACED, Robot, live_server

from stvla_ros.action import ExecuteInstruction
from stvla_ros.control.actions import EndEffectorAction
from stvla_ros.nodes.kit.messages import array_to_image, make_chunk, make_header, stamp_ns

Result = ExecuteInstruction.Result


@pytest.fixture(scope="module")
def robot(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Robot]:
    with live_server(tmp_path_factory.mktemp("live")) as robot:
        yield robot


@pytest.fixture(autouse=True)
def unharmed(robot: Robot) -> Iterator[None]:
    with robot.unharmed():
        yield


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
