"""The driver of an arm behind ros2_control and a stand-in of its controllers, as live tests use them."""

from pathlib import Path
from typing import Any

from joint_robot import write_joint_robot
from live_graph import PATIENCE_S, LiveGraph
from std_srvs.srv import SetBool
from widowx_rig import Rig


class JointRig(Rig):
    """:param interface: that the controller has."""

    arm_node, driver_node, states_topic = "fake_controllers", "joint_position_driver", "joint_states"

    def __init__(self, graph: LiveGraph, folder: Path, interface: str = "positions", **driver: Any) -> None:
        robot = str(write_joint_robot(folder, interface, joint_state_timeout=PATIENCE_S))
        super().__init__(graph, {"robot": robot}, robot=robot, **driver)

    def switch_controller(self, active: bool) -> None:
        assert self.call("fake_controllers/activate", SetBool, data=active).success
