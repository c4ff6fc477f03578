"""How the WidowX driver comes up: each test with a driver and an arm of its own."""

import time
from pathlib import Path

import numpy as np
import pytest
from live_graph import live_graph
from node_process import NodeProcess
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from std_msgs.msg import Bool
from std_srvs.srv import SetBool
from widowx_rig import PERIOD_S, ROBOT, Rig

from stvla_ros.msg import DriverState
from stvla_ros.nodes.kit.base import LATCHED_QOS
from tools.robot_files import write_robot

pytest.importorskip("interbotix_xs_msgs", reason="fallback/interbotix_xs_msgs is not built")


def test_an_emergency_stop_said_before_the_driver_came_is_heard(tmp_path: Path) -> None:
    with live_graph(tmp_path) as graph:
        latched = graph.node.create_publisher(Bool, "estop", LATCHED_QOS)
        latched.publish(Bool(data=True))
        rig = Rig(graph)
        rig.until_phase(DriverState.HELD)
        assert rig.states[-1].held_by == ["estop"]
        # What refers to it keeps its participant alive, and the drivers of the next tests would hear it.
        graph.node.destroy_publisher(latched)
        del latched


def test_single_joint_states_with_nan_do_not_matter_and_many_stop_the_arm(tmp_path: Path) -> None:
    with live_graph(tmp_path) as graph:
        rig = Rig(graph, {"read_failure_share": 0.2})
        rig.until_ready()
        rig.move(1.0, y=-0.01)
        # Single failures do not matter.
        graph.until(lambda: len(rig.verdicts) >= 5, "five verdicts")
        assert [verdict.refused for verdict in rig.verdicts] == [""] * 5
        assert all(verdict.executed for verdict in rig.verdicts)
        rig.arm.kill()
        rig._arm["read_failure_share"] = 1.0
        rig.start_arm()
        rig.until_phase(DriverState.HELD)
        assert "arm lost" in rig.states[-1].held_by
        count = len(rig.verdicts)
        rig.move(0.4, y=-0.01)
        graph.until(lambda: len(rig.verdicts) >= count + 2, "two more verdicts")
        assert not any(verdict.executed for verdict in rig.verdicts[count:])
        assert all("held: " in verdict.refused for verdict in rig.verdicts[count:])


def test_a_dry_run_shows_the_motion_and_sends_nothing(tmp_path: Path) -> None:
    from interbotix_xs_msgs.msg import JointGroupCommand, JointSingleCommand

    with live_graph(tmp_path) as graph:
        kinds = {"wx250s/commands/joint_group": JointGroupCommand, "wx250s/commands/joint_single": JointSingleCommand}
        told = [graph.listen(kind, topic) for topic, kind in kinds.items()]
        rig = Rig(graph, dry_run=True)
        rig.until_ready()
        for topic in kinds:
            graph.until(lambda topic=topic: graph.node.count_publishers(topic), f"who could say {topic}")
        assert rig.states[-1].dry_run
        before = rig.joints()
        rig.move(1.0, y=-0.02)
        graph.until(lambda: len(rig.verdicts) >= 5, "five verdicts")
        assert [verdict.refused for verdict in rig.verdicts if not verdict.executed] == []
        graph.until(lambda: rig.setpoints[-1].position[0] < before[0] - 0.1, "the motion in the setpoints")
        assert rig.joints() == pytest.approx(before, abs=1e-9)
        assert rig.at_rest()
        assert told == [[], []]


def test_a_deadman_that_is_let_go_stops_the_arm(tmp_path: Path) -> None:
    with live_graph(tmp_path) as graph:
        rig = Rig(graph, deadman="service", deadman_timeout=0.4)
        rig.until_phase(DriverState.HELD)
        rig.begin_goal()
        assert rig.states[-1].held_by == ["deadman"]

        def executed() -> bool:
            rig.call("widowx_driver/deadman", SetBool, data=True)
            rig.command(y=-0.02)
            time.sleep(PERIOD_S)
            return bool(rig.verdicts) and rig.verdicts[-1].executed

        graph.until(executed, "a command that is executed")
        rig.until_phase(DriverState.HELD)
        assert rig.states[-1].held_by == ["deadman"]
        rig.until_at_rest()
        assert rig.at_rest()


def test_the_arm_goes_home_first_when_asked_to(tmp_path: Path) -> None:
    with live_graph(tmp_path) as graph:
        rig = Rig(graph, {"start": "rest"}, home_first=True)
        graph.until(lambda: rig.measured and np.abs(rig.joints() - ROBOT.driver.home).max() < 1e-3, "home")


def test_an_arm_with_other_joints_is_not_driven(tmp_path: Path) -> None:
    file = write_robot(tmp_path / "other.yaml", settings={**ROBOT.driver.settings, "group": "leg"})
    with live_graph(tmp_path) as graph:
        rig = Rig(graph, robot=str(file))
        graph.until(lambda: rig.states and "expected a group leg" in rig.states[-1].detail, "the reason")
        assert rig.states[-1].phase == DriverState.WAITING


def test_without_interbotixs_messages_there_is_one_clear_error(tmp_path: Path) -> None:
    blocked = tmp_path / "without.py"
    blocked.write_text(
        "import sys\nsys.modules['interbotix_xs_msgs'] = None\n"
        "from stvla_ros.nodes.drivers.widowx_driver import main\nmain()\n"
    )
    driver = NodeProcess("widowx_driver", tmp_path, {"robot": "widowx"}, program=blocked)
    assert driver.wait() == 2
    assert "interbotix_xs_msgs is not installed" in driver.output
    assert "Traceback" not in driver.output


@pytest.mark.parametrize("durability", [DurabilityPolicy.VOLATILE, DurabilityPolicy.TRANSIENT_LOCAL])
@pytest.mark.parametrize("reliability", [ReliabilityPolicy.RELIABLE, ReliabilityPolicy.BEST_EFFORT])
def test_an_emergency_stop_is_heard_however_it_is_published(
    tmp_path: Path, reliability: ReliabilityPolicy, durability: DurabilityPolicy
) -> None:
    with live_graph(tmp_path) as graph:
        rig = Rig(graph)
        source = graph.node.create_publisher(
            Bool, "estop", QoSProfile(depth=1, reliability=reliability, durability=durability)
        )
        rig.until_ready()
        graph.until(lambda: source.get_subscription_count() >= 1, "a subscriber of the stop")
        source.publish(Bool(data=True))
        rig.until_phase(DriverState.HELD)
        assert rig.states[-1].held_by == ["estop"]
        answer = rig.call("widowx_driver/reset")
        assert not answer.success and "topic estop: " in answer.message
        # Its word is taken back, in the same way.
        source.publish(Bool(data=False))
        rig.until_reset()
        rig.until_ready()
        graph.node.destroy_publisher(source)
