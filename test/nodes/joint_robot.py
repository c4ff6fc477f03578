"""An arm behind ros2_control, for the benches and the live tests of its driver: the WidowX' geometry."""

from pathlib import Path
from typing import Any

from stvla_ros.robots.embodiments import find_embodiment
from tools.robot_files import write_robot

JOINTS = find_embodiment("widowx").driver.arm.joints
CONTROLLERS = {"positions": "forward_position_controller", "trajectory": "joint_trajectory_controller"}
GRIPPER = {
    "interface": "gripper_command",
    "name": "gripper_controller/gripper_cmd",
    "finger_joint": "left_finger",
    "finger_closed": 0.015,
    "finger_open": 0.037,
}


def write_joint_robot(
    folder: Path, interface: str = "positions", gripper: dict[str, Any] | None = GRIPPER, **limits: Any
) -> Path:
    """
    :param limits: in place of the WidowX' own.
    :returns: the robot's file.
    """
    settings = {"controller": CONTROLLERS[interface], "interface": interface}
    settings |= {"gripper": gripper} if gripper else {}
    file = folder / "joint_arm.yaml"
    return write_robot(file, executable="joint_position_driver", settings=settings, limits=limits)


class Controllers:
    """What the controller manager and the controller say when the driver asks, until a test changes it.

    :param interface: of the driver's settings.
    """

    def __init__(self, interface: str) -> None:
        from controller_manager_msgs.msg import ControllerState

        types = {
            "positions": "forward_command_controller/ForwardCommandController",
            "trajectory": "joint_trajectory_controller/JointTrajectoryController",
        }
        self.own = ControllerState(name=CONTROLLERS[interface], state="active", type=types[interface])
        self.own.required_command_interfaces = [f"{name}/position" for name in JOINTS]
        self.open_loop, self.speaks = True, True

    def answer(self, asked: Any) -> Any:
        from controller_manager_msgs.srv import ListControllers
        from rcl_interfaces.msg import ParameterValue
        from rcl_interfaces.srv import GetParameters

        if not self.speaks:
            return None
        if isinstance(asked, ListControllers.Request):
            return ListControllers.Response(controller=[self.own])
        assert isinstance(asked, GetParameters.Request), asked
        known = ParameterValue(type=1, bool_value=self.open_loop)
        return GetParameters.Response(values=[known, ParameterValue()])
