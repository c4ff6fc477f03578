"""What happens to a driver: commands, measurements, stops, and time."""

import math
from typing import Any

import numpy as np
from any_message import doubles, messages, texts, wire
from geometry_msgs.msg import PoseStamped, Vector3
from hypothesis import event as note
from hypothesis import strategies as st
from robot_bench import RobotBench
from sensor_msgs.msg import JointState, Joy
from std_msgs.msg import Bool

from stvla_ros.msg import EndEffectorCommand
from stvla_ros.robots.embodiments import find_embodiment

JOINTS = (*find_embodiment("widowx").driver.arm.joints, "left_finger")

small = st.sampled_from([0.0, 0.02, -0.02, 0.04, -0.04, 0.2, -0.2]) | st.floats(-0.3, 0.3)
vectors = st.builds(Vector3, x=small, y=small, z=small)
# Those without a robot are given the bench's goal; the others come from strangers.
commands = messages(
    EndEffectorCommand, translation=vectors, rotation=vectors, gripper=st.floats(0.0, 1.0, width=32), robot=st.just("")
) | messages(
    EndEffectorCommand,
    frame_id=st.sampled_from(["", "base_link", "link_base"]),
    robot=st.sampled_from(["", "", "widowx", "google_robot"]) | texts,
)
offsets = st.sampled_from([0, 0, 0, -(10**8), -(10**9), -(2 * 10**9), 5 * 10**7, 3 * 10**8, None])
angles = st.floats(-1.5, 1.5) | doubles
joint_states = messages(
    JointState,
    name=st.just(list(JOINTS)) | st.permutations(JOINTS) | st.lists(st.sampled_from(JOINTS) | texts, max_size=8),
    position=st.lists(angles, min_size=7, max_size=7) | st.lists(angles, max_size=9),
)
units = st.sampled_from([[0.0, 0.0, 0.0, 1.0], [1.0, 0.0, 0.0, 0.0], [0.5, 0.5, 0.5, 0.5], [0.6, 0.0, 0.0, 0.8]])


@st.composite
def poses(draw: st.DrawFn) -> PoseStamped:
    message = draw(messages(PoseStamped, frame_id=st.just("link_base") | texts))
    if draw(st.integers(0, 3)):
        at, turned = message.pose.position, message.pose.orientation
        turned.x, turned.y, turned.z, turned.w = draw(units)
        at.x, at.y, at.z = draw(st.sampled_from([(0.6, 0.0, 0.8), (0.31, 0.55, 0.35)]))
    return message


def events(measured: st.SearchStrategy[Any]) -> st.SearchStrategy[list[tuple]]:
    """What happens to a driver."""
    way = st.sampled_from([0.0, 0.0, 0.03, -0.03, 0.09, -0.09])
    return st.lists(
        st.tuples(st.just("command"), commands, offsets)
        | st.tuples(st.just("command"), commands, st.just(0))
        # Steadily in one direction, as a policy does: only so is a limit ever reached.
        | st.tuples(st.just("drive"), st.tuples(way, way, way), st.tuples(way, way, way), st.integers(1, 4))
        | st.tuples(st.just("measured"), measured)
        | st.tuples(st.just("lost"), st.tuples(way, way, way), st.tuples(way, way, way), measured)
        | st.tuples(st.just("estop"), messages(Bool))
        | st.tuples(st.just("joy"), messages(Joy))
        | st.tuples(st.just("switch"), st.booleans())
        | st.tuples(st.just("reset"))
        | st.tuples(st.just("go"), st.sampled_from(["~/home", "~/rest"]))
        | st.tuples(st.just("speaks"), st.booleans())
        | st.tuples(st.just("holds"), st.booleans())
        | st.tuples(st.just("jump"), st.sampled_from([10**9, -(10**9), 3600 * 10**9, 10**8]))
        | st.tuples(st.just("displace"), st.sampled_from([0.01, 0.1, -0.2, 0.5]))
        | st.tuples(st.just("ticks"), st.sampled_from([1, 2, 5, 12, 30])),
        min_size=1,
        max_size=8,
    )


def run(robot: RobotBench, event: tuple) -> None:
    kind, *rest = event
    if kind == "command":
        robot.command(*rest)
        robot.tick(2)
    elif kind == "drive":
        way, turn, count = rest
        for _ in range(count):
            robot.command(command(way, turn), 0)
            robot.tick(control_ticks(robot))
    elif kind == "lost":
        # The robot falls silent in the middle of a motion, and speaks again while the arm still brakes.
        way, turn, message = rest
        robot.speaks = False
        robot.tick(math.ceil(robot.node.description.limits.joint_state_timeout * robot.node.description.tick_hz) - 4)
        robot.command(command(way, turn), 0)
        for _ in range(14):
            robot.tick(1)
            if not robot.node.engaged:
                robot.bench.receive(robot._topic, wire(message))
        robot.speaks = True
    elif kind == "measured":
        robot.bench.receive(robot._topic, wire(*rest))
        robot.tick(1)
    elif kind == "estop":
        robot.estop(*rest)
    elif kind == "joy":
        if "joy" in robot.bench.topics:
            robot.bench.receive("joy", wire(*rest))
    elif kind in ("reset", "go", "switch"):
        getattr(robot, kind)(*rest)
    elif kind in ("speaks", "holds"):
        setattr(robot, kind, *rest)
    elif kind == "jump":
        robot.clock.jumped_ns += rest[0]
    elif kind == "displace":
        robot.position = robot.position + rest[0]
        robot.bench.receive(robot._topic, robot._measure(robot.node, robot.position))
    robot.tick(*rest if kind == "ticks" else (1,))


def command(way: tuple[float, ...], turn: tuple[float, ...]) -> EndEffectorCommand:
    message = EndEffectorCommand(gripper=1.0)
    message.translation.x, message.translation.y, message.translation.z = way
    message.rotation.x, message.rotation.y, message.rotation.z = turn
    return message


def control_ticks(robot: RobotBench) -> int:
    return round(robot.node.description.tick_hz / robot.node.embodiment.control_hz)


def play(robot: RobotBench, happened: list[tuple]) -> None:
    robot.begin()
    robot.tick(20)
    for event in happened:
        run(robot, event)
    robot.tick(control_ticks(robot))
    counts = robot.node.gate.counts
    for name in counts:
        note(name.split(":")[0] + ":" + name.split(":")[1][:22])
    robot.end()
    note(f"moved {any(np.ptp(segment.positions, axis=0).max() > 0 for segment in robot.segments if segment.positions)}")
