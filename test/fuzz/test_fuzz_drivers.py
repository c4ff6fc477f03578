"""Whatever a driver is told, what it sends to the robot obeys the robot's file; and after an emergency stop, nothing
moves until the reset.
"""

import itertools
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from any_message import messages, texts, wire
from examples import examples
from geometry_msgs.msg import PoseStamped
from hypothesis import given
from hypothesis import strategies as st
from joint_robot import Controllers, write_joint_robot
from robot_bench import RobotBench, Segment, robot_bench
from robot_events import JOINTS, control_ticks, events, joint_states, play, poses
from scipy.spatial.transform import Rotation
from sensor_msgs.msg import JointState
from servo_and_pose_robots import tool_pose, write_servo_robot

from stvla_ros.control.safety.rules import MotionRules
from stvla_ros.nodes.drivers.driver import DriverNode
from stvla_ros.nodes.drivers.google_robot_driver import GoogleRobotDriverNode
from stvla_ros.nodes.drivers.moveit_servo_driver import MoveitServoDriverNode
from stvla_ros.nodes.drivers.widowx_driver import WidowxDriverNode
from stvla_ros.robots.embodiments import find_embodiment

# Rounding of the trajectories and of float32, relative and absolute.
SLACK, TINY = 1.001, 2e-5
WIDOWX = find_embodiment("widowx").driver
HOMES = {"widowx": np.array(WIDOWX.home), "servo": np.array(WIDOWX.home), "google": np.array([0.6, 0, 0.8, 0, 0, 0])}


# --- what goes out ----------------------------------------------------------------------------------------------------


@cache
def rules_of(node: DriverNode) -> MotionRules:
    known = [np.array(position) for position in (node.description.home, node.description.rest) if position]
    return MotionRules(node.make_arm(), node.limits, 1.0 / node.description.tick_hz, known)


def check_setpoints(robot: RobotBench, segment: Segment) -> None:
    """The limits of the robot's file, of all that the driver said in one go."""
    node, limits, tick_s = robot.node, robot.node.limits, 1.0 / robot.node.description.tick_hz
    arm = rules_of(node).arm
    joints = [limits.joints[name] for name in arm.names]
    positions = np.stack([segment.start, *segment.positions])
    assert np.isfinite(positions).all()
    # Where it starts may be beyond the margin; it never goes farther.
    lower = np.array([joint.lower + limits.joint_margin for joint in joints])
    upper = np.array([joint.upper - limits.joint_margin for joint in joints])
    assert (positions >= np.minimum(lower, segment.start) - TINY).all()
    assert (positions <= np.maximum(upper, segment.start) + TINY).all()
    resting = np.concatenate([positions[:1]] * 3 + [positions])
    for order, name in ((1, "velocity"), (2, "acceleration"), (3, "jerk")):
        rates = np.abs(np.diff(resting, n=order, axis=0)) / tick_s**order
        allowed = np.array([getattr(joint, name) for joint in joints]) * SLACK + TINY
        assert (rates <= allowed).all(), name
    tools = np.stack([arm.tool_pose(position) for position in positions])
    rules = rules_of(node)
    at_start = rules.broken(segment.start)
    assert at_start or not any(rules.broken(position) for position in positions[:: max(1, len(positions) // 50)])
    outside = limits.workspace.outside(tools[:, :3, 3])
    inside_until = segment.ways.index(True) if True in segment.ways else len(segment.ways)
    assert (outside[: inside_until + 1] <= outside[0] + TINY).all()
    corners = rules.body.corners(arm.body_poses(positions))
    assert np.linalg.norm(np.diff(corners, axis=0), axis=-1).max() <= limits.speed * tick_s * SLACK + TINY
    turns = Rotation.from_matrix(tools[1:, :3, :3] @ tools[:-1, :3, :3].transpose(0, 2, 1)).magnitude()
    assert turns.max() <= limits.tool_turn_rate * tick_s * SLACK + TINY


def check_rest(robot: RobotBench, segment: Segment) -> list[int]:
    """After an emergency stop nothing moves. :returns: the ticks of which this holds."""
    ticks = [tick for tick, held in enumerate(segment.held) if held > control_ticks(robot)]
    for tick in ticks:
        before = segment.positions[tick - 1] if tick else segment.start
        assert np.array_equal(segment.positions[tick], before), "it moves in spite of the emergency stop"
    return ticks


@pytest.fixture(params=["deadman:=joy", "deadman:=service", "dry_run:=true"])
def widowx(request: pytest.FixtureRequest) -> Iterator[RobotBench]:
    from interbotix_xs_msgs.srv import RobotInfo

    def measure(node: DriverNode, position: np.ndarray) -> JointState:
        return wire(JointState(name=list(JOINTS), position=[*position.tolist(), 0.03]))

    def answer(asked: Any) -> Any:
        if not isinstance(asked, RobotInfo.Request):
            return object()
        mode = {"arm": "position", "gripper": "pwm"}[asked.name]
        return RobotInfo.Response(mode=mode, profile_type="time", joint_names=list(WIDOWX.arm.joints))

    outputs = ("wx250s/commands/joint_group", "wx250s/commands/joint_single")
    settings = ("robot:=widowx", request.param)
    with robot_bench(WidowxDriverNode, "wx250s/joint_states", measure, HOMES["widowx"], outputs, *settings) as made:
        made.answers = answer
        yield made


@examples(quick=15)
@given(events(joint_states))
def test_fuzz_widowx_driver(widowx, happened):
    play(widowx, happened)
    for segment in widowx.segments:
        if not segment.positions:
            continue
        check_setpoints(widowx, segment)
        check_rest(widowx, segment)
        for position, sent in zip(segment.positions, segment.sent):
            arm, gripper = sent.values()
            if widowx.node.dry_run:
                assert not arm and not gripper, "a dry run moves the arm"
                continue
            assert len(arm) == 1 and arm[0].name == "arm"
            assert np.array_equal(np.array(arm[0].cmd), position.astype(np.float32))
            for effort in gripper:
                assert (effort.name, abs(effort.cmd)) in (("gripper", 250.0), ("gripper", 0.0))


@st.composite
def service_answers(draw: st.DrawFn) -> list[Any]:
    """What xs_sdk says when it is asked about the arm and the gripper: anything, or nothing."""
    from interbotix_xs_msgs.srv import RobotInfo

    joints = list(WIDOWX.arm.joints)
    names = st.sampled_from([joints, joints[::-1], joints[:-1], [*joints, "gripper"], []]) | st.lists(texts, max_size=7)
    info = messages(
        RobotInfo.Response,
        mode=st.sampled_from(["position", "pwm", "velocity", ""]) | texts,
        profile_type=st.sampled_from(["time", "velocity"]) | texts,
        joint_names=st.just(joints) | names,
    )
    return draw(st.lists(st.none() | info.map(wire), min_size=1, max_size=5))


@pytest.mark.parametrize("widowx", ["deadman:=joy"], indirect=True)
@examples(quick=15)
@given(service_answers(), events(joint_states))
def test_fuzz_widowx_drivers_services(widowx, answers, happened):
    asked = itertools.count()
    given_before = widowx.answers
    widowx.answers = lambda request: answers[next(asked) % len(answers)]
    try:
        play(widowx, happened)
    finally:
        widowx.answers = given_before
    if not any(answer and list(answer.joint_names) == list(WIDOWX.arm.joints) for answer in answers):
        assert not widowx.segments, "an arm of other joints is driven"
    for segment in widowx.segments:
        if segment.positions:
            check_setpoints(widowx, segment)
            check_rest(widowx, segment)


@pytest.fixture
def google() -> Iterator[RobotBench]:
    def measure(node: DriverNode, position: np.ndarray) -> PoseStamped:
        # The position counts from where the driver started; that is how this robot is turned.
        return wire(tool_pose(position, node._arm.reference))

    outputs = ("target_pose", "gripper_command")
    with robot_bench(
        GoogleRobotDriverNode, "tool_pose", measure, HOMES["google"], outputs, "robot:=google_robot"
    ) as made:
        yield made


@examples(quick=15)
@given(events(poses()))
def test_fuzz_google_robot_driver(google, happened):
    play(google, happened)
    for segment in google.segments:
        if not segment.positions:
            continue
        check_setpoints(google, segment)
        rest = set(check_rest(google, segment))
        before = None
        for tick, sent in enumerate(segment.sent):
            (target,), changes = sent.values()
            at, turned = target.pose.position, target.pose.orientation
            assert np.allclose([at.x, at.y, at.z], segment.positions[tick][:3], atol=TINY)
            turn = Rotation.from_quat([turned.x, turned.y, turned.z, turned.w])
            if before is not None:
                angle = (turn * before.inv()).magnitude()
                assert angle <= google.node.description.limits.tool_turn_rate / google.node.description.tick_hz + TINY
                assert angle < 1e-6 or tick not in rest
            before = turn
            assert all(abs(change.data) <= 1.0 for change in changes)
            assert not changes or tick not in rest


@pytest.fixture
def servo(tmp_path: Path) -> Iterator[RobotBench]:
    file = write_servo_robot(tmp_path)

    def measure(node: DriverNode, position: np.ndarray) -> JointState:
        return wire(JointState(name=list(JOINTS), position=[*position.tolist(), 0.03]))

    with robot_bench(
        MoveitServoDriverNode, "joint_states", measure, HOMES["servo"], ("twist", "gripper"), f"robot:={file}"
    ) as made:
        yield made


@pytest.fixture(params=["positions", "trajectory"])
def controlled(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RobotBench]:
    pytest.importorskip("controller_manager_msgs", reason="fallback/controller_manager_msgs is not built")
    pytest.importorskip("control_msgs", reason="fallback/control_msgs is not built")
    from stvla_ros.nodes.drivers.joint_position_driver import JointPositionDriverNode

    controllers = Controllers(request.param)
    topic = f"{controllers.own.name}/{'commands' if request.param == 'positions' else 'joint_trajectory'}"

    def measure(node: DriverNode, position: np.ndarray) -> JointState:
        return wire(JointState(name=list(JOINTS), position=[*position.tolist(), 0.03]))

    file = write_joint_robot(tmp_path, request.param)
    with robot_bench(
        JointPositionDriverNode, "joint_states", measure, HOMES["servo"], (topic,), f"robot:={file}"
    ) as made:
        made.answers = controllers.answer
        yield made


@examples(quick=10)
@given(events(joint_states))
def test_fuzz_joint_position_driver(controlled, happened):
    play(controlled, happened)
    for segment in controlled.segments:
        if not segment.positions:
            continue
        check_setpoints(controlled, segment)
        check_rest(controlled, segment)
        for position, sent in zip(segment.positions, segment.sent):
            ((told,),) = sent.values()
            (points,) = (told.points,) if hasattr(told, "points") else (None,)
            assert list(points[0].positions if points else told.data) == position.tolist()


@examples(quick=15)
@given(events(joint_states))
def test_fuzz_moveit_servo_driver(servo, happened):
    play(servo, happened)
    limits = servo.node.limits
    for segment in servo.segments:
        if not segment.positions:
            continue
        check_setpoints(servo, segment)
        rest = set(check_rest(servo, segment))
        for tick, sent in enumerate(segment.sent):
            (twist,), openings = sent.values()
            parts = [[each.x, each.y, each.z] for each in (twist.twist.linear, twist.twist.angular)]
            assert np.linalg.norm(parts[0]) <= limits.speed + TINY
            assert np.linalg.norm(parts[1]) <= limits.tool_turn_rate + TINY
            assert tick not in rest or not np.any(parts), "it moves in spite of the emergency stop"
            assert all(0.0 <= opening.data <= 1.0 for opening in openings)
            assert not openings or tick not in rest
