"""What stops the arm for good, in the whole graph: a stop in motion, and a driver that a restart must not set going."""

import signal
from collections.abc import Iterator

import pytest
from live_graph import live_graph
from robot_rig import RobotRig
from std_msgs.msg import Bool

pytest.importorskip("interbotix_xs_msgs", reason="fallback/interbotix_xs_msgs is not built")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RobotRig]:
    folder = tmp_path_factory.mktemp("latch")
    with live_graph(folder) as graph:
        rig = RobotRig(graph, folder)
        yield rig
        rig.close()


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
    for node in ("widowx_driver", "vla_server", "robot_session"):
        rig.graph.processes[node].kill()
    held, motion = rig.until_holding(10.0), rig.largest_motion()
    rig.states.clear()
    for node in ("widowx_driver", "vla_server", "robot_session"):
        rig.start(node)
    rig.until_stopped("estop")
    rig.resume()
    rig.until_moving()
    rig.check_limits()
    figures(held, motion, "all restarted: moves again after a reset and a new instruction")


def test_a_driver_that_is_ended_and_started_again_does_not_go_on(rig: RobotRig, figures) -> None:
    rig.until_moving()
    driver = rig.graph.processes["widowx_driver"]
    rig.strike(lambda: driver.process.send_signal(signal.SIGTERM))
    driver.wait()
    held, motion = rig.until_holding(10.0), rig.largest_motion()
    rig.states.clear()
    rig.start("widowx_driver")
    rig.graph.until(lambda: rig.states and not rig.states[-1].held_by, "the driver")
    rig.resume()
    rig.until_moving()
    rig.check_limits()
    figures(held, motion, "in order: moves again after a new instruction")
