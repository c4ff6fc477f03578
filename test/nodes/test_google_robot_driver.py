"""The pose driver as a site's own controller sees it: measured poses go in, wanted poses come out."""

import copy
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from command_goals import new_goal
from geometry_msgs.msg import Point, Pose, PoseStamped, Quaternion
from live_graph import LiveGraph, live_graph
from scipy.spatial.transform import Rotation
from std_msgs.msg import Bool, Float32
from std_srvs.srv import Trigger

from stvla_ros.control.actions import EndEffectorAction
from stvla_ros.msg import CommandVerdict, DriverState
from stvla_ros.nodes.kit.messages import action_to_command, make_header, stamp_ns
from stvla_ros.robots.embodiments import find_embodiment

ROBOT = find_embodiment("google_robot")
PERIOD_S = 1.0 / ROBOT.control_hz
START = np.array([0.6, 0.0, 0.8])
# Half a turn about y: the tool points down.
DOWN = Rotation.from_rotvec([0.0, np.pi, 0.0])


class Controller:
    """The robot's own controller: it is at once where it is told to be."""

    def __init__(self, graph: LiveGraph) -> None:
        self.graph = graph
        self.targets = graph.listen(PoseStamped, "target_pose")
        self.grippers = graph.listen(Float32, "gripper_command")
        self.verdicts = graph.listen(CommandVerdict, "command_verdict")
        self.states = graph.listen(DriverState, "driver_state")
        self.goal = new_goal("google_robot")
        self.driver = graph.start("google_robot_driver", robot="google_robot")
        self.broken = False
        self.also: Pose | None = None  # said right after where it is
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._say_where_it_is, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._stopping.set()
        self._thread.join()

    def _say_where_it_is(self) -> None:
        while not self._stopping.wait(0.05):
            pose = copy.deepcopy(self.targets[-1].pose) if self.targets else make_pose(START, DOWN)
            message = PoseStamped(header=make_header(time.time_ns(), ROBOT.base_frame), pose=pose)
            if self.broken:
                message.pose.orientation.w = float("nan")
            self.graph.publish("tool_pose", message)
            if self.also is not None:
                self.graph.publish("tool_pose", PoseStamped(header=message.header, pose=self.also))

    def until_phase(self, phase: int) -> None:
        self.graph.until(lambda: self.states and self.states[-1].phase == phase, f"phase {phase}; {self.driver.output}")
        if phase == DriverState.READY:
            # Goals from before a start or a reset are over.
            self.goal = new_goal("google_robot")

    def reset(self) -> None:
        def answer() -> Trigger.Response:
            return self.graph.call(Trigger, "google_robot_driver/reset", Trigger.Request())

        self.graph.until(lambda: answer().success, lambda: f"the reset; {answer().message}")
        self.until_phase(DriverState.READY)

    def command(self, x: float = 0.0, turn: float = 0.0, gripper: float = 1.0) -> None:
        action = EndEffectorAction(np.array([x, 0.0, 0.0]), np.array([0.0, 0.0, turn]), gripper)
        header = make_header(time.time_ns(), ROBOT.base_frame)
        self.graph.publish("command", action_to_command(action, header, self.goal))


def make_pose(position: np.ndarray, rotation: Rotation) -> Pose:
    x, y, z, w = rotation.as_quat().tolist()
    return Pose(position=Point(**dict(zip("xyz", position.tolist()))), orientation=Quaternion(x=x, y=y, z=z, w=w))


@pytest.fixture(scope="module")
def controller(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Controller]:
    with live_graph(tmp_path_factory.mktemp("google")) as graph:
        controller = Controller(graph)
        controller.until_phase(DriverState.READY)
        yield controller
        controller.close()


def test_a_command_becomes_a_smooth_way_of_poses(controller: Controller) -> None:
    controller.targets.clear()
    controller.command(x=0.05, turn=0.2, gripper=0.0)
    controller.graph.until(
        lambda: controller.targets and controller.targets[-1].pose.position.x > START[0] + 0.0499, "the target"
    )
    way = np.array([[each.pose.position.x, each.pose.position.y, each.pose.position.z] for each in controller.targets])
    assert np.linalg.norm(np.diff(way, axis=0), axis=1).max() <= ROBOT.driver.limits.speed / ROBOT.driver.tick_hz
    last = controller.targets[-1]
    q = last.pose.orientation
    wanted = Rotation.from_rotvec([0.0, 0.0, 0.2]) * DOWN
    assert (Rotation.from_quat([q.x, q.y, q.z, q.w]) * wanted.inv()).magnitude() < 1e-3
    assert last.header.frame_id == ROBOT.base_frame


def test_the_grippers_changes_add_up_to_what_was_wanted(controller: Controller) -> None:
    controller.command(gripper=1.0)
    controller.graph.until(lambda: controller.verdicts and controller.verdicts[-1].executed, "the opening")
    controller.until_phase(DriverState.READY)
    time.sleep(1.0)
    controller.grippers.clear()
    controller.command(gripper=0.25)
    controller.graph.until(lambda: abs(sum(each.data for each in controller.grippers) + 0.75) < 1e-5, "the closing")
    assert max(abs(each.data) for each in controller.grippers) < 0.2  # bit by bit


def test_a_pose_that_is_none_stops_the_robot(controller: Controller) -> None:
    controller.broken = True
    controller.until_phase(DriverState.HELD)
    controller.command(x=-0.05)
    controller.graph.until(lambda: "held: arm lost" in controller.verdicts[-1].refused, "the refusal")
    controller.broken = False
    controller.reset()


def test_a_pose_without_a_position_does_not_turn_the_robot(controller: Controller) -> None:
    before = controller.targets[-1].pose.orientation
    controller.broken = True
    controller.until_phase(DriverState.HELD)
    controller.also = make_pose(np.full(3, np.nan), Rotation.identity())
    controller.broken = False
    controller.reset()
    controller.also = None
    controller.targets.clear()
    controller.graph.until(lambda: controller.targets, "a target")
    after = controller.targets[-1].pose.orientation
    turn = (
        Rotation.from_quat([after.x, after.y, after.z, after.w])
        * Rotation.from_quat([before.x, before.y, before.z, before.w]).inv()
    )
    assert turn.magnitude() < 1e-6


def _way(targets: list) -> float:
    return float(np.ptp([each.pose.position.x for each in targets])) if targets else 0.0


def test_an_emergency_stop_ends_the_way_within_a_control_period(controller: Controller) -> None:
    controller.targets.clear()
    controller.command(x=-0.1)
    controller.graph.until(lambda: controller.targets and _way(controller.targets), "motion")
    controller.graph.publish("estop", Bool(data=True))
    controller.until_phase(DriverState.HELD)
    held = stamp_ns(controller.states[-1].header)
    ticks = round(PERIOD_S * ROBOT.driver.tick_hz)
    # By the driver's own ticks: when they come is the machine's business. A robot at rest is sent nothing more.
    after = lambda: [each for each in controller.targets if stamp_ns(each.header) > held]  # noqa: E731
    heard = -1
    while len(after()) > heard:
        heard = len(after())
        time.sleep(0.5)
    assert _way(after()[ticks:] or after()[-1:]) < 1e-9


def test_a_robot_without_driver_is_refused_in_one_line(tmp_path: Path) -> None:
    with live_graph(tmp_path) as graph:
        driver = graph.start("google_robot_driver", robot="panda")
        assert driver.wait() == 2
        assert "panda has no driver" in driver.output and "Traceback" not in driver.output
