"""An arm behind ros2_control: driver and stand-in in processes of their own, through the controllers' interfaces."""

import os
import signal
from collections.abc import Iterator

import pytest
from joint_rig import JointRig
from joint_robot import GRIPPER
from live_graph import live_graph
from std_msgs.msg import Bool, Float64MultiArray
from trajectory_msgs.msg import JointTrajectory
from widowx_rig import ROBOT

from stvla_ros.msg import DriverState
from stvla_ros.nodes.kit.messages import stamp_ns

pytest.importorskip("controller_manager_msgs", reason="fallback/controller_manager_msgs is not built")
pytest.importorskip("control_msgs", reason="fallback/control_msgs is not built")

TOPICS = {
    "positions": ("forward_position_controller/commands", Float64MultiArray),
    "trajectory": ("joint_trajectory_controller/joint_trajectory", JointTrajectory),
}


@pytest.fixture(scope="module", params=["positions", pytest.param("trajectory", marks=pytest.mark.slow)])
def interface(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def rig(interface: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[JointRig]:
    folder = tmp_path_factory.mktemp("controlled")
    with live_graph(folder) as graph:
        rig = JointRig(graph, folder, interface)
        rig.until_ready()
        yield rig


@pytest.fixture
def at_home(rig: JointRig) -> JointRig:
    """The arm at its home position, and nothing holds it."""
    rig.go_home()
    return rig


def finger(rig: JointRig) -> float:
    return dict(zip(rig.measured[-1].name, rig.measured[-1].position))["left_finger"]


def until_stopped(rig: JointRig, cause: str) -> str:
    """:returns: what the driver says of it."""
    rig.graph.until(lambda: rig.states and cause in rig.states[-1].held_by, f"{cause}; {rig.driver.output[-500:]}")
    rig.until_at_rest()
    return rig.states[-1].detail


def test_commands_move_the_arm_and_the_gripper_by_its_action(at_home: JointRig) -> None:
    before = at_home.joints()
    at_home.move(1.0, y=-0.02, gripper=0.0)
    at_home.graph.until(lambda: len(at_home.verdicts) == 5, "five verdicts")
    assert [verdict.refused for verdict in at_home.verdicts if not verdict.executed] == []
    at_home.graph.until(lambda: at_home.joints()[0] < before[0] - 0.2, "the waist to turn to the right")
    at_home.until_at_rest()
    closed = pytest.approx(GRIPPER["finger_closed"])
    at_home.graph.until(lambda: finger(at_home) == closed, "the gripper to close")
    assert at_home.call("joint_position_driver/release_gripper").success
    at_home.graph.until(lambda: finger(at_home) == pytest.approx(GRIPPER["finger_open"]), "the gripper to open")
    said = lambda: at_home.graph.statuses.get("fake_controllers")  # noqa: E731
    at_home.graph.until(said, "the stand-in's diagnostics")
    assert {each.key: each.value for each in said().values}["unsafe_commands"] == "0"


def test_an_emergency_stop_ends_the_motion_within_a_control_period_and_lasts(at_home: JointRig) -> None:
    at_home.states.clear()
    with at_home.moving(y=0.03):
        at_home.graph.publish("estop", Bool(data=True))
        until_stopped(at_home, "estop")
        held = next(stamp_ns(state.header) for state in at_home.states if state.phase == DriverState.HELD)
        assert at_home.speeds(held)[-1:] in ([0.0], [])
    assert at_home.at_rest()


def test_a_killed_driver_leaves_the_arm_at_its_last_setpoint(at_home: JointRig) -> None:
    with at_home.moving(y=0.03):
        at_home.driver.kill()
        at_home.until_at_rest()
    last = dict(zip(at_home.setpoints[-1].name, at_home.setpoints[-1].position))
    stayed = at_home.joints()
    # The last one that was told may not have been said.
    assert stayed == pytest.approx([last[name] for name in ROBOT.driver.arm.joints], abs=0.05)
    at_home.states.clear()
    at_home.start_driver()
    assert "driver ended" in until_stopped(at_home, "driver ended")
    at_home.until_reset()
    at_home.until_ready()
    assert at_home.joints() == pytest.approx(stayed, abs=1e-6)


def test_frozen_joint_states_stop_the_arm(at_home: JointRig) -> None:
    with at_home.moving(y=0.03):
        os.kill(at_home.arm.pid, signal.SIGSTOP)
        try:
            # On a busy machine the setpoints may leave the frozen arm behind before its silence counts.
            causes = ("arm lost", "tracking")
            stopped = lambda: at_home.states and any(cause in at_home.states[-1].held_by for cause in causes)  # noqa: E731
            at_home.graph.until(stopped, lambda: f"the stop; the driver's state is {at_home.states[-1]}")
        finally:
            os.kill(at_home.arm.pid, signal.SIGCONT)
    at_home.until_at_rest()


def test_a_stranger_on_the_controllers_topic_stops_the_arm_and_is_named(at_home: JointRig, interface: str) -> None:
    topic, kind = TOPICS[interface]
    stranger = at_home.graph.add_node("stranger")
    with at_home.moving(y=0.01):
        publisher = stranger.create_publisher(kind, topic, 10)
        said = until_stopped(at_home, "foreign publisher")
    assert "/stranger" in said and topic in said
    assert not at_home.call("joint_position_driver/reset").success, "while it is there"
    stranger.destroy_publisher(publisher)
    stranger.destroy_node()


def test_a_controller_that_is_switched_off_stops_the_arm_and_the_reset_waits_for_it(at_home: JointRig) -> None:
    with at_home.moving(y=0.03):
        at_home.switch_controller(False)
        assert "it is inactive" in until_stopped(at_home, "arm lost")
    at_home.until_reset()
    at_home.until_phase(DriverState.WAITING)
    at_home.graph.until(lambda: "it is inactive" in at_home.states[-1].detail, "the driver to say what it waits for")
    stayed = at_home.joints()
    at_home.switch_controller(True)
    at_home.until_ready()
    assert at_home.joints() == pytest.approx(stayed, abs=1e-6)
