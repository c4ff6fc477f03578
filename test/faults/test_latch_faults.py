"""What stops the arm for good, in the whole graph: a stop in motion, and a driver that a restart must not set going."""

import signal
from collections.abc import Iterator

import pytest
from robot_rig import ARMS, DRIVER, RobotRig, robot_rig
from std_msgs.msg import Bool

pytest.importorskip("interbotix_xs_msgs", reason="fallback/interbotix_xs_msgs is not built")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", params=ARMS)
def rig(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RobotRig]:
    with robot_rig(request.param, tmp_path_factory.mktemp("latch")) as rig:
        yield rig


def test_an_emergency_stop_ends_goal_and_instruction(rig: RobotRig, figures) -> None:
    rig.until_moving()
    rig.strike(lambda: rig.graph.publish("estop", Bool(data=True)))
    held = rig.until_holding(10.0)
    motion = rig.largest_motion()
    rig.until_stopped("estop")
    rig.graph.publish("estop", Bool(data=False))
    rig.resume()
    rig.until_moving()
    rig.check_limits()
    figures(held, motion, "moves again after a reset and a new instruction")


def test_an_emergency_stop_outlives_a_killed_driver_and_server(rig: RobotRig, figures) -> None:
    rig.until_moving()
    rig.strike(lambda: rig.graph.publish("estop", Bool(data=True)))
    rig.until_stopped("estop")
    rig.graph.publish("estop", Bool(data=False))
    for node in (DRIVER, "vla_server", "robot_session"):
        rig.process(node).kill()
    held, motion = rig.until_holding(10.0), rig.largest_motion()
    rig.states.clear()
    for node in (DRIVER, "vla_server", "robot_session"):
        rig.start(node)
    rig.until_stopped("estop")
    rig.resume()
    rig.until_moving()
    rig.check_limits()
    figures(held, motion, "all restarted: moves again after a reset and a new instruction")


def test_a_driver_that_is_ended_and_started_again_does_not_go_on(rig: RobotRig, figures) -> None:
    rig.until_moving()
    driver = rig.process(DRIVER)
    rig.strike(lambda: driver.process.send_signal(signal.SIGTERM))
    driver.wait()
    held, motion = rig.until_holding(10.0), rig.largest_motion()
    rig.states.clear()
    rig.start(DRIVER)
    rig.graph.until(lambda: rig.states and not rig.states[-1].held_by, "the driver")
    rig.resume()
    rig.until_moving()
    rig.check_limits()
    figures(held, motion, "in order: moves again after a new instruction")
