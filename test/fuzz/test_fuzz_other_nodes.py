"""Whatever the nodes around the policy and the robot are told, they refuse what is bad, and live on."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from any_message import colour_images, depth_images, messages, texts, wire
from diagnostic_msgs.msg import DiagnosticArray
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from node_bench import Bench, bench, ros
from sensor_msgs.msg import JointState

from stvla_ros.control.command_identity import NO_GOAL, GoalUnderWay
from stvla_ros.msg import CommandVerdict, DriverState, EndEffectorCommand, EpisodeState
from stvla_ros.nodes.drivers.fake_xs_arm import FakeXsArmNode
from stvla_ros.nodes.drivers.robot_session import RobotSessionNode
from stvla_ros.nodes.kit.any_topic import matching_qos
from stvla_ros.nodes.kit.messages import identity_of, stamp_ns
from stvla_ros.nodes.recording.bag_recorder import BagRecorderNode, _Topic
from stvla_ros.nodes.recording.episode_recorder import EpisodeRecorderNode
from stvla_ros.nodes.simulation.command_inbox import MOST_KEPT, CommandInbox
from stvla_ros.nodes.simulation.sim_bridge import SimBridgeNode
from stvla_ros.robots.embodiments import find_embodiment


def strict_json(file: Path) -> Any:
    """What other programs can read, too: no NaN, no Infinity."""
    return json.loads(file.read_text(), parse_constant=lambda name: pytest.fail(f"{file}: {name} is no JSON"))


@pytest.fixture
def sim_bridge() -> Iterator[Bench]:
    with ros():
        made = Bench(SimBridgeNode)
        yield made
        made.node.destroy_node()


robots = st.sampled_from(["panda", "panda", "", "widowx"])


@examples(quick=15)
@given(st.lists(messages(EndEffectorCommand, robot=robots), min_size=1, max_size=3))
def test_fuzz_sim_bridge(sim_bridge, commands):
    # Of its other parts, a simulator, this callback takes nothing.
    part = sim_bridge.node._commands
    inbox = part.inbox = CommandInbox(lambda count: None)
    # With a driver, the driver reports on commands.
    part._goals, part._driven = GoalUnderWay("panda"), True
    stamps = {stamp_ns(command.header) for command in commands}
    for command in commands:
        sim_bridge.run(lambda: part._on_command(wire(command)))
    assert len(inbox._commands) <= MOST_KEPT
    if found := inbox.wait_for(stamps, 0.0):
        action = found.action
        own = [command for command in commands if stamp_ns(command.header) == found.stamp and command.robot == "panda"]
        assert any(identity_of(command).goal_id != NO_GOAL for command in own)
        assert np.isfinite([*action.translation, *action.rotation]).all()
        assert 0.0 <= action.gripper <= 1.0


SESSION = {
    "command_verdict": messages(CommandVerdict),
    "driver_state": messages(DriverState),
    "setpoint": messages(JointState, name=st.lists(st.sampled_from(["waist", "elbow", ""]) | texts, max_size=5)),
}


@pytest.fixture
def robot_session(tmp_path: Path) -> Iterator[Bench]:
    with bench(RobotSessionNode, f"output:={tmp_path}") as made:
        yield made


@examples(quick=15)
@given(st.one_of([st.tuples(st.just(topic), given_messages) for topic, given_messages in SESSION.items()]))
def test_fuzz_robot_session(robot_session, received):
    topic, message = received
    robot_session.receive(topic, wire(message))
    (write,) = robot_session.timers
    robot_session.run(write)
    strict_json(robot_session.node._output / "motion.json")


RECORDED = {
    "image": colour_images(),
    "traced_depth": depth_images(),
    "overlay": colour_images(),
    "episode_state": messages(EpisodeState),
}
values = texts | st.sampled_from(["1.5", "NaN", "-Infinity", "1e999", "[1]", "[" * 5000, '{"a": ' * 5000, "9" * 5000])


@st.composite
def episode_events(draw: st.DrawFn) -> list[tuple[str, Any]]:
    found = [(topic, draw(RECORDED[topic])) for topic in draw(st.permutations(list(RECORDED)))]
    stamp = found[0][1].header.stamp
    for _, message in found:
        message.header.stamp = stamp
    if draw(st.integers(0, 3)) == 0:
        found.append(("/diagnostics", draw(messages(DiagnosticArray, value=values))))
    return found


@pytest.fixture
def episode_recorder(tmp_path: Path) -> Iterator[Bench]:
    with bench(EpisodeRecorderNode, f"output:={tmp_path}", "join_window:=5", "fps:=2.0") as made:
        yield made


@examples(quick=15)
@given(episode_events())
def test_fuzz_episode_recorder(episode_recorder, received):
    node = episode_recorder.node
    # Each episode is kept for the summary: 10,000 of them would be written 10,000 times.
    node._episodes, node._stages = node._episodes[-3:], {}
    for topic, message in received:
        episode_recorder.receive(topic, wire(message))
    episode_recorder.run(node._write_summary)
    strict_json(node._output / "summary.json")


@pytest.fixture
def bag_recorder(tmp_path: Path) -> Iterator[Bench]:
    with bench(BagRecorderNode, f"output:={tmp_path / 'bag'}") as made:
        made.node.now_ns = lambda: made.now_ns
        yield made
        made.stop()
        assert made.node.exit_code is None


type_names = (
    st.sampled_from(
        ["std_msgs/msg/String", "sensor_msgs/msg/Image", "stvla_ros/msg/TraceArray", "geometry_msgs/msg/No"]
    )
    | st.sampled_from(["", "/msg/", "std_msgs/msg/__name__", "../msg/String", "json/msg/loads", "a.b/msg/C", "é/msg/é"])
    | texts
)


@examples(quick=15)
@given(
    st.lists(st.tuples(type_names, st.sampled_from("abcdefgh")), max_size=3),
    st.lists(st.binary(max_size=64), max_size=4),
    st.integers(0, 2**62),
)
def test_fuzz_bag_recorder(bag_recorder, announced, received, now_ns):
    bag_recorder.now_ns = now_ns
    # As after a deactivation: each example announces its topics anew.
    bag_recorder.unsubscribe()
    for type_name, topic in announced:
        bag_recorder.run(lambda: bag_recorder.node._record(_Topic(f"/{topic}", type_name, matching_qos([], 5))))
    for topic in list(bag_recorder.topics)[-2:]:
        for cdr in received:
            bag_recorder.receive(topic, cdr)
    assert bag_recorder.node._thread._thread.is_alive()


@pytest.fixture
def fake_arm() -> Iterator[Bench]:
    with bench(FakeXsArmNode) as made:
        yield made


def arm_messages() -> st.SearchStrategy[tuple[str, Any]]:
    from interbotix_xs_msgs import msg, srv

    names = st.sampled_from(["arm", "gripper", "all", ""]) | texts
    topics = {"joint_group": msg.JointGroupCommand, "joint_single": msg.JointSingleCommand}
    services = {
        "set_operating_modes": srv.OperatingModes,
        "set_motor_registers": srv.RegisterValues,
        "get_motor_registers": srv.RegisterValues,
        "get_robot_info": srv.RobotInfo,
        "torque_enable": srv.TorqueEnable,
    }
    registers = st.sampled_from(["Profile_Velocity", "Profile_Acceleration", "Torque_Enable"]) | texts
    goals = st.lists(st.floats(-4.0, 4.0, width=32) | st.just(float("nan")), min_size=6, max_size=6)
    return st.one_of(
        [st.tuples(st.just(f"wx250s/commands/{name}"), messages(kind, name=names)) for name, kind in topics.items()]
        + [st.tuples(st.just("wx250s/commands/joint_group"), st.builds(msg.JointGroupCommand, name=names, cmd=goals))]
        + [
            st.tuples(st.just(f"wx250s/{name}"), messages(kind.Request, name=names, reg=registers))
            for name, kind in services.items()
        ]
    )


@examples(quick=15)
@given(st.lists(arm_messages(), min_size=1, max_size=3))
def test_fuzz_fake_xs_arm(fake_arm, received):
    for topic, message in received:
        if topic in fake_arm.services:
            fake_arm.call(topic, message)
        else:
            fake_arm.receive(topic, wire(message))
    limits = find_embodiment("widowx").driver.limits.joints.values()
    fake_arm.run(fake_arm.node._publish)
    (states,) = fake_arm.sent("wx250s/joint_states")
    for value, joint in zip(states.position, limits):
        assert joint.lower - 1e-6 <= value <= joint.upper + 1e-6
    assert 0.015 <= states.position[7] <= 0.037
    fake_arm.forget()
