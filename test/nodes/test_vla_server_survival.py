"""What the action server survives: useless input, transitions of its lifecycle, Ctrl-C in another one."""

import time
from array import array
from collections.abc import Iterator

import numpy as np
import pytest
from action_msgs.msg import GoalStatus
from live_graph import live_graph
from rclpy.action import ActionClient
from sensor_msgs.msg import CameraInfo, Image
from server_rig import PROPOSAL, TRACED, Robot, live_server

from stvla_ros.action import ExecuteInstruction
from stvla_ros.control.actions import EndEffectorAction
from stvla_ros.msg import ActionChunk
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
