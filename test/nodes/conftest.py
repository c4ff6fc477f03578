"""A WidowX driver on the bench, with an arm at home."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from robot_bench import RobotBench, robot_bench
from sensor_msgs.msg import JointState
from widowx_bench import ROBOT, STATES_TOPIC, joint_states

from stvla_ros.nodes.drivers.driver import DriverNode


@pytest.fixture(scope="module")
def driver() -> Iterator[RobotBench]:
    pytest.importorskip("interbotix_xs_msgs", reason="fallback/interbotix_xs_msgs is not built")
    from interbotix_xs_msgs.srv import RobotInfo

    from stvla_ros.nodes.drivers.widowx_driver import WidowxDriverNode

    def measure(node: DriverNode, position: np.ndarray) -> JointState:
        return joint_states(position, made.effort)

    def answer(asked: Any) -> Any:
        if not isinstance(asked, RobotInfo.Request):
            return object()
        mode = {"arm": "position", "gripper": "pwm"}[asked.name]
        return RobotInfo.Response(mode=mode, profile_type="time", joint_names=list(ROBOT.driver.arm.joints))

    outputs = ("wx250s/commands/joint_group", "wx250s/commands/joint_single")
    home = np.array(ROBOT.driver.home)
    with robot_bench(WidowxDriverNode, STATES_TOPIC, measure, home, outputs, "robot:=widowx") as made:
        made.answers = answer
        yield made


@pytest.fixture
def ready(driver: RobotBench) -> Iterator[RobotBench]:
    """The arm is at home, and commands are accepted."""
    driver.begin()
    driver.until_engaged()
    yield driver
    driver.bench.stop()
