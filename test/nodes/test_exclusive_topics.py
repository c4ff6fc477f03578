"""Which topics a driver has for itself."""

import pytest
from node_bench import ros

from stvla_ros.nodes.drivers.driver import DriverNode
from stvla_ros.nodes.drivers.google_robot_driver import GoogleRobotDriverNode
from stvla_ros.nodes.drivers.widowx_driver import WidowxDriverNode

pytest.importorskip("interbotix_xs_msgs", reason="fallback/interbotix_xs_msgs is not built")


@pytest.mark.parametrize(
    ("make", "robot", "topics"),
    [
        (WidowxDriverNode, "widowx", {"/wx250s/commands/joint_group", "/wx250s/commands/joint_single"}),
        (GoogleRobotDriverNode, "google_robot", {"/target_pose", "/gripper_command"}),
    ],
)
def test_all_topics_on_which_a_driver_speaks_to_its_arm_are_its_own(
    make: type[DriverNode], robot: str, topics: set[str]
) -> None:
    with ros(f"robot:={robot}"):
        node = make()
        try:
            node.configure()
            assert set(node.exclusive_topics()) == topics
        finally:
            node.end()
            node.destroy_node()
            del node
