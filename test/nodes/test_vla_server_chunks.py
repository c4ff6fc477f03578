"""Chunk execution through a live server: executions, slow inference, stale pictures, cancel, rates, gripper."""

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from camera_frames import scene
from chunk_server import PERIOD_S, ChunkServer, install_told, latency_s, published_s, source
from live_graph import live_graph
from rclpy.action import ActionClient

from stvla_ros.action import ExecuteInstruction
from stvla_ros.control.chunk_execution import COMMAND_COST, SPACING
from stvla_ros.msg import EndEffectorCommand
from stvla_ros.nodes.kit.messages import stamp_ns

Result = ExecuteInstruction.Result


@pytest.fixture
def start(tmp_path: Path) -> Iterator:
    """Starts one server with the given parameters."""
    with live_graph(tmp_path) as graph:
        started: list[ChunkServer] = []

        def make(**parameters: object) -> ChunkServer:
            started.append(ChunkServer(graph, tmp_path, **parameters))
            return started[0]

        yield make
        for server in started:
            assert server.process.alive(), server.process.output
            assert "Traceback" not in server.process.output
            server.client.destroy()


def test_receding_answers_each_observation_with_the_first_action(start) -> None:
    server = start(execution="receding")
    handle = server.send("actions=4")
    server.watch_until(lambda: len(server.commands) >= 7, "seven commands")
    server.cancel(handle)
    assert [stamp_ns(command.header) for command in server.commands] == [
        stamp_ns(chunk.header) for chunk in server.chunks[: len(server.commands)]
    ]
    assert {source(command)[1] for command in server.commands} == {0}


def test_chunk_runs_open_loop_and_feedback_and_figures_tell_both_rates(start) -> None:
    server = start(execution="chunk")
    handle = server.send("actions=4")
    server.watch_until(lambda: len(server.commands) >= 16, "sixteen commands")
    server.graph.until(lambda: server.figures().get("actions_per_s"), "figures")
    result = server.cancel(handle)
    server.graph.until(lambda: len(server.feedback) == result.steps == len(server.commands), "the last feedback")
    steps = [source(command) for command in server.commands]
    # A loaded machine may skip a step, never repeat one.
    assert steps == sorted(set(steps))
    assert max(index for _, index in steps) == 3
    # By the stamps of the observations that were answered: no new inference before the chunk is nearly used up.
    answered = np.array([stamp_ns(chunk.header) for chunk in server.chunks]) * 1e-9
    assert np.diff(answered).min() > 2.5 * PERIOD_S
    assert result.chunks == server.feedback[-1].chunk
    assert [feedback.command for feedback in server.feedback] == server.commands
    assert all(0 < latency_s(feedback) < 1.5 for feedback in server.feedback)
    figures = server.figures()
    assert figures["chunks_per_s"] < figures["actions_per_s"] <= 1.15 / PERIOD_S
    # Every command of a chunk carries the stamp of the observation that the chunk answers.
    first = [stamp_ns(c.header) for c, (thought, _) in zip(server.commands, steps) if thought == 0]
    assert set(first) == {stamp_ns(server.chunks[0].header)}


@pytest.mark.parametrize("execution", ["ensemble", "mean_ensemble", "adaptive_ensemble"])
def test_an_ensemble_averages_what_the_chunks_say_about_a_step(execution: str, start) -> None:
    # In lockstep, where it does not depend on time which chunks there are for a step.
    server = start(execution=execution, pacing="lockstep")
    handle = server.send("actions=4")
    for count in range(1, 10):
        server.observe()
        server.graph.until(lambda: len(server.commands) >= count, f"command {count}; {server.process.output}")
    server.cancel(handle)
    weights = np.exp(0.8 * np.arange(4)) if execution == "ensemble" else np.ones(4)
    weights /= weights.sum()
    # The newest chunk says action 0, those before it 1, 2, 3.
    found = [command.translation.y for command in server.commands[4:]]
    # The adaptive one's weights are all but equal here: the actions of the chunks point almost the same way.
    assert found == pytest.approx([weights @ [3, 2, 1, 0]] * 5, abs=1e-3)


def test_a_slow_inference_skips_what_is_past_and_fills_its_time_with_later_actions(start) -> None:
    server = start(execution="ensemble")
    handle = server.send("actions=7 think=0.45")
    server.watch_until(lambda: len(server.commands) >= 10, "ten commands")
    server.graph.until(lambda: server.figures().get("late_chunks"), "late chunks")
    server.cancel(handle)
    first = server.feedback[0]
    _, index = source(first.command)
    # The action of the control step in which it leaves.
    assert latency_s(first) >= 0.45
    assert index >= 2 and index * PERIOD_S <= latency_s(first)
    assert len(server.commands) > 1.3 * server.commands[-1].translation.z, "more commands than inferences"
    assert server.figures()["late_chunk_share"] == 1.0


def test_an_inference_longer_than_its_chunk_moves_nothing_and_stalls(start) -> None:
    server = start(execution="ensemble", stall_timeout=1.5)
    handle = server.send("actions=2 think=0.5")
    result = server.graph.begin(handle.get_result_async)
    while not result.done():
        server.watch(PERIOD_S)
    assert result.result().result.outcome == Result.STALLED
    assert server.chunks
    assert not server.commands
    server.graph.until(lambda: server.figures().get("unused_chunks"), "unused chunks")


@pytest.mark.parametrize("execution", ["chunk", "ensemble"])
def test_nothing_leaves_from_an_observation_that_grew_stale(execution: str, start) -> None:
    server = start(execution=execution, max_observation_age=0.5)
    handle = server.send("actions=20 think=0.7")
    server.watch_until(lambda: len(server.chunks) >= 2, "two chunks")
    assert not server.commands
    server.cancel(handle)
    handle = server.send("actions=20")
    server.watch_until(lambda: server.commands, "a command")
    time.sleep(1.2)  # the chunk would go on for four seconds
    server.cancel(handle)
    # The command leaves between the check and the look at the clock.
    assert server.feedback and all(latency_s(feedback) < 0.55 for feedback in server.feedback)
    handle = server.send("actions=20")
    server.observe(age_s=0.6)
    time.sleep(0.3)
    assert not server.commands
    server.cancel(handle)


def test_a_cancel_does_not_wait_for_a_long_inference_nor_does_it_move_the_robot_later(start, tmp_path: Path) -> None:
    server, end = start(execution="chunk"), tmp_path / "end"
    handle = server.send(f"actions=50 wait={end}")
    server.watch_until(lambda: Path(f"{end}.began").exists(), "an inference")
    assert server.cancel(handle).outcome == Result.STOPPED, "answered while it runs"
    end.touch()
    server.graph.until(
        lambda: server.graph.values("vla_server").get("dropped (goal ended during inference)"), "the inference's end"
    )
    # A command would have left by the next alarm.
    time.sleep(2.0 * PERIOD_S)
    assert not server.commands


def test_after_a_cancel_the_rest_of_the_chunk_does_not_leave(start) -> None:
    server = start(execution="chunk", max_observation_age=0.0)
    handle = server.send("actions=50")
    server.observe()
    server.graph.until(lambda: len(server.commands) >= 2, "commands of the chunk")
    steps = server.cancel(handle).steps
    time.sleep(3 * PERIOD_S)
    # Those that had left when the cancel was answered, by the server's own count.
    server.graph.until(lambda: len(server.commands) >= steps, "the last command")
    assert len(server.commands) == steps


def test_a_newer_goal_begins_with_its_own_chunk_and_keeps_the_rate(start) -> None:
    server = start(execution="chunk", max_observation_age=0.0)
    server.send("actions=50")
    server.observe()
    server.graph.until(lambda: len(server.feedback) >= 2, "commands of the chunk")
    older = server.feedback
    newer = server.send("actions=50 gripper=c")
    server.observe()
    server.graph.until(lambda: len(server.feedback) >= 2, "commands of the newer chunk")
    assert {feedback.command.gripper for feedback in server.feedback} == {0.0}
    # A command leaves between the schedule's look at the clock and the feedback's.
    assert published_s(server.feedback[0]) - published_s(older[-1]) > 0.9 * SPACING * COMMAND_COST * PERIOD_S
    server.cancel(newer)


@pytest.mark.parametrize("execution", ["receding", "ensemble"])
def test_a_camera_at_30_hz_does_not_make_the_robot_faster(execution: str, start) -> None:
    server = start(execution=execution)
    handle = server.send("actions=4")
    server.watch_until(lambda: len(server.feedback) >= 12, "twelve commands", period_s=1 / 30)
    server.cancel(handle)
    answered = np.array([stamp_ns(chunk.header) for chunk in server.chunks]) * 1e-9
    assert len(answered) <= np.ptp(answered) / PERIOD_S + 2.5
    left = np.array([published_s(feedback) for feedback in server.feedback])
    assert len(left) - 1 <= np.ptp(left) / (COMMAND_COST * PERIOD_S) + 0.6


@pytest.mark.parametrize("execution", ["chunk", "ensemble"])
def test_lockstep_answers_each_observation_once_however_long_it_takes(execution: str, start) -> None:
    server = start(execution=execution, pacing="lockstep", max_observation_age=0.1)
    handle = server.send("actions=4 think=0.15")
    stamps = []
    for count in range(1, 10):
        stamps.append(server.observe(age_s=5.0))
        server.graph.until(lambda: len(server.commands) >= count, f"command {count}; {server.process.output}")
    server.cancel(handle)
    assert [stamp_ns(command.header) for command in server.commands] == stamps
    thoughts = len(server.chunks)
    assert thoughts == (3 if execution == "chunk" else 9)
    if execution == "chunk":
        assert [source(command) for command in server.commands] == [(n // 4, n % 4) for n in range(9)]


def test_the_gripper_is_held_for_its_steps_whatever_the_policy_says(start) -> None:
    server = start(execution="receding", pacing="lockstep", sticky_gripper=3)
    for _ in range(2):  # the second goal begins anew
        handle = server.send("actions=1 gripper=ocoooooc")
        for count in range(1, 9):
            server.observe()
            server.graph.until(lambda: len(server.commands) >= count, f"command {count}")
        server.cancel(handle)
        # The last change would be held into the second goal.
        assert [command.gripper for command in server.commands] == [1, 0, 0, 0, 1, 1, 1, 0]


def test_a_policy_that_refuses_the_picture_holds_the_robot_and_the_goal_stalls(start) -> None:
    server = start(execution="chunk", stall_timeout=1.0)
    handle = server.send("refuse=yes")
    result = server.graph.begin(handle.get_result_async)
    while not result.done():
        server.watch(PERIOD_S)
    assert result.result().result.outcome == Result.STALLED
    assert not server.commands
    lines = [line for line in server.process.output.splitlines() if "expected a better picture" in line]
    assert 1 <= len(lines) <= 4
    handle = server.send("actions=4")
    server.watch_until(lambda: server.commands, "a command")
    server.cancel(handle)


NAN_DEPTH = np.full((40, 40), 0.5, np.float32)
NAN_DEPTH[0, 0] = np.nan


@pytest.mark.parametrize(
    ("traces", "unused"), [("none", ("traced_depth", "overlay")), ("rgb", ("traced_depth", "image"))]
)
def test_without_traced_depth_the_picture_and_the_clean_depth_are_what_the_policy_sees(
    traces: str, unused: tuple[str, ...], start
) -> None:
    server = start(execution="receding", traces=traces)
    assert not any(server.graph.node.count_subscribers(topic) for topic in unused)
    handle = server.send("see=yes")
    red = np.zeros((40, 40, 3), np.uint8)
    red[..., 0] = 77
    server.graph.until(
        lambda: (server.observe(rgb=red, depth=NAN_DEPTH) and time.sleep(0.05)) or server.commands, "command"
    )
    seen = server.commands[0].translation
    # Unknown depth, NaN on the topic, is 0 to the policy.
    assert (seen.x, seen.y, seen.z) == (77.0, 0.0, 40.0)
    server.cancel(handle)


@pytest.mark.parametrize("traces", ["none", "depth", "rgb"])
def test_fused_the_policy_sees_traces_where_the_mode_says(traces: str, tmp_path: Path) -> None:
    pictures, depth = scene(14)
    with live_graph(tmp_path) as graph:
        server = {"policy": "told", "traces": traces, "pacing": "lockstep", "stall_timeout": 0.0}
        process = graph.start("fused", package=install_told(tmp_path), vla_server=server)
        commands = graph.listen(EndEffectorCommand, "command")
        client = ActionClient(graph.node, ExecuteInstruction, "execute_instruction")
        graph.until(client.server_is_ready, f"action server; {process.output}")
        graph.connect(image=1, sensor_depth=1, camera_info=1)
        goal = ExecuteInstruction.Goal(instruction="see=yes")
        assert graph.result(graph.begin(client.send_goal_async, goal), "answer to the goal").accepted
        for count, picture in enumerate(pictures, 1):
            graph.frame(graph.node.get_clock().now().nanoseconds, picture, depth)
            graph.until(lambda: len(commands) >= count, f"command {count}; {process.output}")
        redness = np.array([command.translation.x for command in commands])
        clean = np.array([picture[..., 0].mean() for picture in pictures])
        assert redness[:4] == pytest.approx(clean[:4]), "no traces at first"
        assert (redness[-1] != pytest.approx(clean[-1])) == (traces == "rgb")
        assert {command.translation.z for command in commands} == {224.0 if traces == "depth" else 160.0}
        client.destroy()


def test_a_parameter_that_the_policy_refuses_ends_the_start_with_one_line(tmp_path: Path) -> None:
    with live_graph(tmp_path) as graph:
        expert = graph.start("vla_server", policy="expert", checkpoint="somewhere")
        assert expert.wait() == 2
        assert expert.output.strip().endswith("policy expert: takes no checkpoint; it takes no parameters")
        assert len(expert.output.strip().splitlines()) == 1
