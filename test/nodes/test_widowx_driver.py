"""The WidowX driver with a stand-in of the arm: real nodes in processes of their own, xs_sdk's topics and services."""

import time
from collections.abc import Iterator

import numpy as np
import pytest
from command_goals import of_goal
from live_graph import live_graph
from std_msgs.msg import Bool
from widowx_rig import PERIOD_S, ROBOT, Rig

from stvla_ros.control.actions import EndEffectorAction
from stvla_ros.msg import DriverState
from stvla_ros.nodes.kit.messages import action_to_command, make_header, stamp_ns

pytest.importorskip("interbotix_xs_msgs", reason="fallback/interbotix_xs_msgs is not built")


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    with live_graph(tmp_path_factory.mktemp("widowx")) as graph:
        rig = Rig(graph)
        rig.until_ready()
        yield rig


@pytest.fixture
def at_home(rig: Rig) -> Rig:
    """The arm at its home position, and nothing holds it."""
    rig.go_home()
    return rig


def test_commands_move_the_arm_and_the_gripper(at_home: Rig) -> None:
    before = at_home.joints()
    at_home.move(1.0, y=-0.02, gripper=0.0)
    at_home.graph.until(lambda: len(at_home.verdicts) == 5, "five verdicts")
    assert [verdict.refused for verdict in at_home.verdicts if not verdict.executed] == []
    at_home.graph.until(lambda: at_home.joints()[0] < before[0] - 0.2, "the waist to turn to the right")
    at_home.until_at_rest()
    finger = dict(zip(at_home.measured[-1].name, at_home.measured[-1].position))["left_finger"]
    assert finger == pytest.approx(ROBOT.driver.settings["finger_closed"])


def test_an_emergency_stop_ends_the_motion_within_a_control_period_and_lasts(at_home: Rig) -> None:
    at_home.states.clear()
    with at_home.moving(y=0.03):
        at_home.graph.publish("estop", Bool(data=True))
        at_home.until_phase(DriverState.HELD)
        held = next(stamp_ns(state.header) for state in at_home.states if state.phase == DriverState.HELD)
        at_home.graph.until(lambda: at_home.speeds(held)[-1:] == [0.0], "the stop's end")
    # Counted in the driver's own ticks: when they come is the machine's business.
    assert sum(speed > 0 for speed in at_home.speeds(held)) <= PERIOD_S * ROBOT.driver.tick_hz
    at_home.until_at_rest()
    at_home.verdicts.clear()
    at_home.move(0.4, y=0.03)
    assert at_home.at_rest()
    assert at_home.verdicts[-1].refused == "held: estop"
    assert "still says true" in at_home.call("widowx_driver/reset").message
    at_home.graph.publish("estop", Bool(data=False))
    at_home.until_reset()
    at_home.states.clear()
    at_home.until_ready()
    at_home.command(y=-0.02)
    at_home.graph.until(lambda: at_home.verdicts[-1].executed, "an executed command")


def test_the_topic_estop_stops_too_and_false_is_no_reset(at_home: Rig) -> None:
    at_home.graph.publish("estop", Bool(data=True))
    at_home.until_phase(DriverState.HELD)
    at_home.graph.publish("estop", Bool(data=False))
    time.sleep(0.3)
    assert at_home.states[-1].held_by == ["estop"] and at_home.states[-1].phase == DriverState.HELD


def test_an_answer_to_an_old_observation_moves_nothing(at_home: Rig) -> None:
    at_home.command(y=0.03, age_s=3.0)
    at_home.graph.until(lambda: at_home.verdicts, "a verdict")
    assert at_home.verdicts[-1].refused.startswith("observation age")
    assert at_home.at_rest()


def test_what_is_no_command_moves_nothing(at_home: Rig) -> None:
    header = make_header(at_home.graph.node.get_clock().now().nanoseconds, ROBOT.base_frame)
    good = action_to_command(EndEffectorAction(np.array([0.0, 0.03, 0.0]), np.zeros(3), 1.0), header, at_home.goal)
    for change in ({"translation": {"x": float("nan")}}, {"rotation": {"z": float("inf")}}, {"gripper": 7.0}):
        message = of_goal(type(good)(header=good.header, translation=good.translation, gripper=1.0), at_home.goal)
        for field, value in change.items():
            if isinstance(value, dict):
                part = type(good.translation)(**value)
                setattr(message, field, part)
            else:
                setattr(message, field, value)
        at_home.graph.publish("command", message)
    good.header.frame_id = "camera"
    at_home.graph.publish("command", good)
    at_home.graph.until(lambda: len(at_home.verdicts) == 4, "four verdicts")
    assert not any(verdict.executed for verdict in at_home.verdicts)
    assert "frame_id" in at_home.verdicts[-1].refused
    assert at_home.at_rest()


def test_an_arm_that_does_not_follow_is_stopped_and_taken_up_where_it_is(at_home: Rig) -> None:
    from interbotix_xs_msgs.srv import TorqueEnable

    at_home.call("wx250s/torque_enable", TorqueEnable, cmd_type="group", name="arm", enable=False)
    stays = at_home.joints()
    at_home.move(2.0, y=0.03)
    at_home.until_phase(DriverState.HELD)
    assert "tracking" in at_home.states[-1].held_by and "does not follow" in at_home.states[-1].detail
    at_home.call("wx250s/torque_enable", TorqueEnable, cmd_type="group", name="arm", enable=True)
    at_home.until_reset()
    at_home.until_ready()
    assert at_home.at_rest()
    assert at_home.joints() == pytest.approx(stays, abs=1e-6)


def test_without_further_commands_the_arm_holds(at_home: Rig) -> None:
    at_home.move(0.6, y=-0.03)
    at_home.graph.until(lambda: at_home.states[-1].phase == DriverState.READY, "the end of the motion")
    at_home.until_at_rest()
    assert at_home.at_rest()


def test_a_restarted_arm_stays_stopped_and_is_taken_up_where_it_is_after_the_reset(at_home: Rig) -> None:
    at_home.move(0.6, y=0.03)
    at_home.arm.kill()
    at_home.until_phase(DriverState.HELD)
    assert "arm lost" in at_home.states[-1].held_by
    at_home.measured.clear()
    at_home.start_arm()
    at_home.graph.until(lambda: at_home.measured, "joint states")
    at_home.states.clear()
    at_home.move(1.0, y=0.03)
    assert at_home.at_rest() and {state.phase for state in at_home.states} == {DriverState.HELD}
    at_home.until_reset()
    at_home.until_ready()
    assert at_home.at_rest()
    # Where the new arm stands, not where the old one was.
    assert at_home.joints() == pytest.approx(np.array(ROBOT.driver.home), abs=1e-6)


def test_a_killed_and_restarted_driver_stays_stopped_until_the_reset(at_home: Rig) -> None:
    at_home.move(0.6, y=0.03)
    at_home.driver.kill()
    at_home.until_at_rest()
    stayed = at_home.joints()
    at_home.states.clear()
    at_home.start_driver()
    at_home.until_phase(DriverState.HELD)
    assert at_home.states[-1].held_by == ["driver ended"]
    at_home.verdicts.clear()
    at_home.move(1.0, y=0.03)
    at_home.graph.until(lambda: at_home.verdicts, "a verdict")
    assert "held: driver ended" in at_home.verdicts[-1].refused
    at_home.until_reset()
    at_home.until_ready()
    assert at_home.at_rest()
    assert at_home.joints() == pytest.approx(stayed, abs=1e-6)


def test_ctrl_c_stops_the_motion_in_order_and_leaves_the_torque_on(at_home: Rig) -> None:
    from interbotix_xs_msgs.srv import RegisterValues

    with at_home.moving(y=-0.03):
        at_home.setpoints.clear()
        assert at_home.driver.interrupt() == 0
        at_home.graph.until(lambda: at_home.speeds()[-1:] == [0.0], "the last setpoints, which are a stop")
    assert max(at_home.speeds()) > 0.05
    assert at_home.at_rest()
    torque = at_home.call(
        "wx250s/get_motor_registers", RegisterValues, cmd_type="group", name="arm", reg="Torque_Enable"
    )
    assert list(torque.values) == [1] * 6
    at_home.states.clear()
    at_home.start_driver()
    at_home.until_ready()


def test_a_stranger_on_the_arms_own_topic_stops_it_and_is_named(at_home: Rig) -> None:
    from interbotix_xs_msgs.msg import JointGroupCommand

    stranger = at_home.graph.add_node("stranger")
    with at_home.moving(y=0.01):
        publisher = stranger.create_publisher(JointGroupCommand, "wx250s/commands/joint_group", 10)
        at_home.until_phase(DriverState.HELD)
    at_home.until_at_rest()
    assert "foreign publisher" in at_home.states[-1].held_by
    assert "/stranger" in at_home.states[-1].detail and "/wx250s/commands/joint_group" in at_home.states[-1].detail
    assert not at_home.call("widowx_driver/reset").success, "while it is there"
    stranger.destroy_publisher(publisher)
    at_home.until_reset()
