"""Whatever observations, chunks, verdicts and goals come, the server acts or refuses, and the robot gets numbers."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from any_message import NOW_NS, messages, texts, wire
from builtin_interfaces.msg import Time
from examples import examples
from hypothesis import event as note
from hypothesis import given
from hypothesis import strategies as st
from node_bench import bench
from server_bench import Server, served
from test_fuzz_perception import frames

from stvla_ros.action import ExecuteInstruction
from stvla_ros.msg import ActionChunk, CommandVerdict, EndEffectorCommand, EpisodeState
from stvla_ros.nodes.server.vla_server import VlaServerNode


@st.composite
def chunks(draw: st.DrawFn, *kinds: str) -> list[tuple[str, Any]]:
    """An observation, and the expert's answer to it."""
    found = draw(frames(*kinds))
    if draw(st.integers(0, 3)) < 3:
        chunk = ActionChunk(actions=[EndEffectorCommand(gripper=0.5)] * 3)
    else:
        chunk = draw(messages(ActionChunk))
    chunk.header.stamp = next(message.header.stamp for topic, message in found if topic == "image")
    return [*found, ("expert_chunk", wire(chunk))]


goals = st.builds(
    ExecuteInstruction.Goal,
    instruction=st.sampled_from(["stack the cubes", "", " ", "a" * 500]) | texts,
    time_limit=messages(type(ExecuteInstruction.Goal().time_limit)),
)
events = (
    st.tuples(st.just("frame"), chunks("image", "traced_depth", "camera_info"))
    | st.tuples(st.just("frame"), chunks("image", "traced_depth", "camera_info"))
    | st.tuples(st.just("goal"), goals)
    | st.tuples(st.just("episode"), messages(EpisodeState))
    | st.tuples(st.just("verdict"), messages(CommandVerdict))
    | st.tuples(st.just("time"), st.sampled_from([10**7, 2 * 10**8, 10**9, 10**12, -(10**12)]))
)


@pytest.fixture(params=["lockstep", "realtime"])
def server(request) -> Iterator[Server]:
    with served(
        f"pacing:={request.param}",
        "execution:=receding",
        "join_window:=5",
        "max_observation_age:=0.0",
        "policy:=expert",
        "allow_preemption:=true",
    ) as made:
        yield made


def play(server: Server, happened: list[tuple[str, Any]]) -> None:
    server.now_ns = NOW_NS
    for kind, given_input in happened:
        if kind == "frame":
            for topic, message in given_input:
                if topic in server.bench.topics:
                    server.bench.receive(topic, message)
        elif kind == "goal":
            server.goal(given_input)
        elif kind == "verdict":
            server.bench.receive("command_verdict", wire(given_input))
        elif kind == "episode":
            server.bench.receive("episode_state", wire(given_input))
        else:
            server.now_ns += given_input
        for _ in range(3 if server.node._alarm is not None else 0):
            server.bench.run(server.node._alarm.wake)
            server.now_ns += 3 * 10**8
        for timer in server.bench.timers:
            server.bench.run(timer)
        server.tell_results()
    note(f"commands {min(len(server.bench.sent('command')), 2)}")
    for message in server.bench.sent("command"):
        numbers = [getattr(part, axis) for part in (message.translation, message.rotation) for axis in "xyz"]
        assert np.isfinite(numbers).all()
        assert 0.0 <= message.gripper <= 1.0
        assert message.robot == "widowx" and message.goal_id.uuid.any() and message.goal_stamp != Time()
    server.bench.forget()


@examples(quick=15)
@given(st.lists(events, min_size=1, max_size=6))
def test_fuzz_vla_server(server, happened):
    play(server, [("goal", ExecuteInstruction.Goal(instruction="stack the cubes")), *happened])


@pytest.fixture
def network() -> Iterator[Server]:
    with bench(VlaServerNode, "pacing:=lockstep", "execution:=receding", "policy:=stvla") as made:
        yield Server(made)


@examples(quick=15)
@given(chunks("image", "traced_depth", "camera_info"))
def test_fuzz_vla_server_with_a_network(network, frame):
    play(network, [("goal", ExecuteInstruction.Goal(instruction="stack the cubes")), ("frame", frame)])
