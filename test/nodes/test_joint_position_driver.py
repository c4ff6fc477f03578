"""The driver of an arm behind ros2_control on a bench: what it sends, when it does not begin, and what stops it."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from action_msgs.msg import GoalStatus, GoalStatusArray
from any_message import wire
from joint_robot import CONTROLLERS, GRIPPER, JOINTS, Controllers, write_joint_robot
from robot_bench import RobotBench, robot_bench
from sensor_msgs.msg import JointState
from widowx_bench import PERIOD_TICKS, ROBOT, joint_states, sideways, ticks, verdict

from stvla_ros.nodes.drivers import gripper_output
from stvla_ros.nodes.drivers.driver import DriverNode

pytest.importorskip("controller_manager_msgs", reason="fallback/controller_manager_msgs is not built")
pytest.importorskip("control_msgs", reason="fallback/control_msgs is not built")

TOPICS = {
    "positions": "forward_position_controller/commands",
    "trajectory": "joint_trajectory_controller/joint_trajectory",
}
GOALS = "joint_trajectory_controller/follow_joint_trajectory/_action/status"
HOME = np.array(ROBOT.driver.home)


class GripperServer:
    """In place of the action's client: what it is sent."""

    ready, accepts = True, True

    def __init__(self) -> None:
        self.goals: list[Any] = []

    def make(self, node: Any, kind: Any, name: str) -> "GripperServer":
        assert name == GRIPPER["name"]
        return self

    def server_is_ready(self) -> bool:
        return self.ready

    def send_goal_async(self, goal: Any) -> Any:
        self.goals.append(goal)
        answer = SimpleNamespace(accepted=self.accepts)
        return SimpleNamespace(done=lambda: True, result=lambda: answer)

    def destroy(self) -> None:
        pass

    @property
    def positions(self) -> list[float]:
        return [goal.command.position for goal in self.goals]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> GripperServer:
    made = GripperServer()
    monkeypatch.setattr(gripper_output, "ActionClient", made.make)
    return made


@pytest.fixture(params=["positions", "trajectory"])
def interface(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def controllers(interface: str) -> Controllers:
    return Controllers(interface)


def measure(node: DriverNode, position: np.ndarray) -> JointState:
    return joint_states(position)


@pytest.fixture
def robot(interface: str, controllers: Controllers, server: GripperServer, tmp_path: Path) -> Iterator[RobotBench]:
    """Not engaged yet."""
    from stvla_ros.nodes.drivers.joint_position_driver import JointPositionDriverNode

    file = write_joint_robot(tmp_path, interface)
    outputs = (TOPICS[interface],)
    with robot_bench(JointPositionDriverNode, "joint_states", measure, HOME, outputs, f"robot:={file}") as made:
        made.answers = controllers.answer
        made.begin()
        yield made


def sent_positions(robot: RobotBench, interface: str, count: int) -> list[list[float]]:
    sent = ticks(robot, count, TOPICS[interface])
    return [list(each.data if interface == "positions" else each.points[0].positions) for each in sent]


def test_every_tick_the_controller_is_told_the_setpoint(robot: RobotBench, interface: str) -> None:
    robot.until_engaged()
    sideways(robot)
    assert verdict(robot).executed
    sent = sent_positions(robot, interface, 12)
    told = [position.tolist() for position in robot.segments[0].positions[-12:]]
    assert sent == told and np.ptp(np.array(sent)[:, 0]) > 0.01


@pytest.mark.parametrize("interface", ["trajectory"], indirect=True)
def test_a_trajectory_ends_with_its_only_point_two_ticks_ahead(robot: RobotBench) -> None:
    robot.until_engaged()
    (message,) = ticks(robot, 1, TOPICS["trajectory"])
    (point,) = message.points
    assert message.joint_names == list(JOINTS) and not message.header.stamp.sec
    assert (point.time_from_start.sec, point.time_from_start.nanosec) == (0, 40_000_000)
    # A controller refuses a trajectory that ends in motion, or goes on after it.
    assert list(point.velocities) == [] and list(point.accelerations) == []


def not_loaded(controllers: Controllers) -> None:
    controllers.own.name = "another_controller"


def inactive(controllers: Controllers) -> None:
    controllers.own.state = "inactive"


def chained(controllers: Controllers) -> None:
    controllers.own.is_chained = True


def of_another_kind(controllers: Controllers) -> None:
    other = {"forward_position_controller": "trajectory", "joint_trajectory_controller": "positions"}
    controllers.own.type = Controllers(other[controllers.own.name]).own.type


def of_other_joints(controllers: Controllers) -> None:
    controllers.own.required_command_interfaces = [f"left_{name}/position" for name in JOINTS]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (not_loaded, "expected it among those of controller_manager, it has another_controller"),
        (inactive, "expected it to be active, it is inactive (ros2 control switch_controllers --activate"),
        (chained, "another controller is chained to it"),
        (of_another_kind, "expected interface: "),
        (of_other_joints, "expected it to command waist"),
    ],
)
def test_an_arm_whose_controller_would_do_something_else_is_not_taken_up(
    robot: RobotBench, interface: str, controllers: Controllers, wrong: Any, said: str
) -> None:
    wrong(controllers)
    assert ticks(robot, 60, TOPICS[interface]) == []
    assert f"controller {CONTROLLERS[interface]}: " in robot.node.detail and said in robot.node.detail


def test_velocities_are_no_positions_but_a_way_to_follow_a_trajectory(
    robot: RobotBench, interface: str, controllers: Controllers
) -> None:
    controllers.own.required_command_interfaces = [f"{name}/velocity" for name in JOINTS]
    assert bool(ticks(robot, 60, TOPICS[interface])) == (interface == "trajectory")
    assert interface == "trajectory" or "it commands waist/velocity, " in robot.node.detail


def test_joints_in_another_order_matter_where_positions_go_by_it(
    robot: RobotBench, interface: str, controllers: Controllers
) -> None:
    controllers.own.required_command_interfaces = [f"{name}/position" for name in reversed(JOINTS)]
    told = ticks(robot, 60, TOPICS[interface])
    if interface == "trajectory":
        assert told
    else:
        assert told == [] and "in this order" in robot.node.detail


@pytest.mark.parametrize("interface", ["trajectory"], indirect=True)
def test_a_trajectory_controller_that_begins_where_the_arm_lags_is_refused(
    robot: RobotBench, controllers: Controllers
) -> None:
    controllers.open_loop = False
    assert ticks(robot, 60, TOPICS["trajectory"]) == []
    assert "expected its parameter open_loop_control or interpolate_from_desired_state to be true" in robot.node.detail


def test_a_controller_that_is_switched_off_stops_the_arm_for_good(
    robot: RobotBench, interface: str, controllers: Controllers
) -> None:
    robot.until_engaged()
    sideways(robot, 3)
    robot.tick(3)
    controllers.own.state = "inactive"
    robot.tick(50)
    assert list(robot.node.latch.causes) == ["arm lost"] and "it is inactive" in robot.node.latch.causes["arm lost"]
    assert not robot.node.gate.moving
    controllers.own.state = "active"
    # It would take the next setpoint wherever the arm was carried meanwhile.
    assert ticks(robot, 100, TOPICS[interface]) == []


def test_a_controller_manager_that_says_nothing_stops_the_arm_for_good(
    robot: RobotBench, controllers: Controllers
) -> None:
    robot.until_engaged()
    controllers.speaks = False
    robot.tick(200)
    assert robot.node.latch.causes == {}, "it may be busy"
    robot.tick(100)
    assert list(robot.node.latch.causes) == ["arm lost"]
    assert "list_controllers: expected an answer" in robot.node.latch.causes["arm lost"]


def goals(*statuses: int) -> GoalStatusArray:
    return wire(GoalStatusArray(status_list=[GoalStatus(status=status) for status in statuses]))


@pytest.mark.parametrize("interface", ["trajectory"], indirect=True)
def test_somebody_elses_goal_stops_the_arm_and_keeps_it_from_being_taken_up(robot: RobotBench) -> None:
    robot.until_engaged()
    robot.bench.receive(GOALS, goals(GoalStatus.STATUS_SUCCEEDED, GoalStatus.STATUS_ABORTED))
    assert robot.node.latch.causes == {}
    robot.bench.receive(GOALS, goals(GoalStatus.STATUS_SUCCEEDED, GoalStatus.STATUS_EXECUTING))
    assert list(robot.node.latch.causes) == ["foreign publisher"]
    robot.tick(20)
    assert robot.bench.call("~/reset").success
    assert ticks(robot, 60, TOPICS["trajectory"]) == [] and "one is under way" in robot.node.detail
    robot.bench.receive(GOALS, goals(GoalStatus.STATUS_SUCCEEDED, GoalStatus.STATUS_CANCELED))
    robot.tick(60)
    robot.until_engaged()


# --- the gripper ------------------------------------------------------------------------------------------------------


def grip(robot: RobotBench, opening: float) -> None:
    from stvla_ros.msg import EndEffectorCommand

    robot.command(EndEffectorCommand(gripper=opening), 0)


@pytest.mark.parametrize("interface", ["positions"], indirect=True)
def test_a_change_of_the_opening_is_one_goal(robot: RobotBench, server: GripperServer) -> None:
    robot.until_engaged()
    robot.tick(20)
    assert server.goals == [], "nobody asked"
    for _ in range(3):
        grip(robot, 0.0)
        robot.tick(PERIOD_TICKS)
    assert server.positions == [pytest.approx(GRIPPER["finger_closed"])]
    grip(robot, 1.0)
    robot.tick(2 * PERIOD_TICKS)
    assert server.positions[1:] == [pytest.approx(GRIPPER["finger_open"])]


@pytest.mark.parametrize("interface", ["positions"], indirect=True)
def test_a_rejected_goal_is_sent_again_and_said(robot: RobotBench, server: GripperServer) -> None:
    robot.until_engaged()
    server.accepts = False
    grip(robot, 0.0)
    robot.tick(2 * PERIOD_TICKS)
    assert len(server.goals) == 1
    assert "action gripper_controller/gripper_cmd: the goal was rejected" in robot.node.stage.recent_error()
    server.accepts = True
    robot.tick(100)
    assert len(server.goals) == 2


@pytest.mark.parametrize("interface", ["positions"], indirect=True)
def test_without_the_grippers_server_the_arm_works_and_it_is_said(robot: RobotBench, server: GripperServer) -> None:
    robot.until_engaged()
    server.ready = False
    grip(robot, 0.0)
    robot.tick(2 * PERIOD_TICKS)
    assert server.goals == [] and "there is none" in robot.node.stage.recent_error()
    answer = robot.bench.call("~/release_gripper")
    assert not answer.success and "expected a server of control_msgs/action/GripperCommand" in answer.message
    server.ready = True
    robot.tick(100)
    assert len(server.goals) == 1


@pytest.mark.parametrize("interface", ["positions"], indirect=True)
def test_a_hand_is_let_go_while_the_arm_is_stopped(robot: RobotBench, server: GripperServer) -> None:
    robot.until_engaged()
    robot.bench.call("~/estop")
    robot.tick(20)
    assert robot.bench.call("~/release_gripper").success
    robot.tick(40)
    assert server.positions[-1:] == [pytest.approx(GRIPPER["finger_open"])]


# --- joint states in parts --------------------------------------------------------------------------------------------


class Halves:
    """Half of the joints in a message, half in the next; the finger is in the first."""

    silent: tuple[str, ...] = ()

    def __init__(self) -> None:
        self._number = 0

    def measure(self, node: DriverNode, position: np.ndarray) -> JointState:
        self._number += 1
        names = [*JOINTS[:3], "left_finger"] if self._number % 2 else list(JOINTS[3:])
        by_name = dict(zip(JOINTS, position.tolist())) | {"left_finger": 0.03}
        names = [name for name in names if name not in self.silent] or [*JOINTS[:3], "left_finger"]
        return wire(JointState(name=names, position=[by_name[name] for name in names]))


@pytest.mark.parametrize("interface", ["positions"], indirect=True)
def test_joint_states_in_parts_are_put_together(robot: RobotBench) -> None:
    robot._measure = Halves().measure
    robot.until_engaged()
    for _ in range(4):
        sideways(robot)
        assert verdict(robot).executed
        robot.tick(PERIOD_TICKS)
    assert robot.node.latch.causes == {}
    assert abs(robot.position[0] - HOME[0]) > 0.1


@pytest.mark.parametrize("interface", ["positions"], indirect=True)
@pytest.mark.parametrize("silent", [("elbow",), tuple(JOINTS[3:])])
def test_a_single_joint_that_falls_silent_stops_the_arm_and_is_named(
    robot: RobotBench, silent: tuple[str, ...]
) -> None:
    halves = Halves()
    robot._measure = halves.measure
    robot.until_engaged()
    halves.silent = silent
    robot.tick(40)
    assert list(robot.node.latch.causes) == ["arm lost"]
    assert f"no position of {silent[0]} (" in robot.node.stage.recent_error()


@pytest.mark.parametrize("interface", ["positions"], indirect=True)
def test_a_finger_that_falls_silent_stops_the_arm_and_is_named(robot: RobotBench) -> None:
    halves = Halves()
    robot._measure = halves.measure
    robot.until_engaged()
    halves.silent = ("left_finger",)
    robot.tick(100)
    assert list(robot.node.latch.causes) == ["arm lost"]
    assert "no position of the finger's joint left_finger" in robot.node.stage.recent_error()
