"""Settings of a gripper that its arm's own driver does not handle."""

from dataclasses import dataclass
from typing import Literal

from stvla_ros.errors import InputError
from stvla_ros.settings import check_filled

GripperInterface = Literal["gripper_command", "parallel_gripper_command", "positions", "opening"]
# Those interfaces that are actions.
ACTIONS: dict[GripperInterface, str] = {
    "gripper_command": "control_msgs/action/GripperCommand",
    "parallel_gripper_command": "control_msgs/action/ParallelGripperCommand",
}


@dataclass(frozen=True)
class GripperSettings:
    """``driver.settings.gripper`` of the robot's file.

    :param interface: kind of the gripper's interface. ``gripper_command`` and ``parallel_gripper_command`` are the
        actions of control_msgs, ``positions`` is a position controller's topic (std_msgs/Float64MultiArray),
        ``opening`` is a topic with the opening itself (std_msgs/Float64, 0 closed to 1 open) for a node of your own.
    :param name: name of the action or topic.
    :param finger_joint: joint whose position tells the opening; empty if there is none.
    :param finger_closed, finger_open: position of this joint, closed and open, rad or m; the gripper's commands have
        the same unit.
    :param max_effort: effort that the actions ask for, N or N m; 0 leaves it to the controller.
    :param joint_states_topic: topic of the finger's position; empty for the arm's topic.
    """

    interface: GripperInterface
    name: str
    finger_joint: str = ""
    finger_closed: float = 0.0
    finger_open: float = 1.0
    max_effort: float = 0.0
    joint_states_topic: str = ""

    def __post_init__(self) -> None:
        check_filled(self, "name")
        if self.finger_closed == self.finger_open:
            raise InputError("finger_closed, finger_open: expected different positions, got the same")
        if not 0.0 <= self.max_effort <= 1000.0:
            raise InputError(f"max_effort: expected 0 to 1000, got {self.max_effort}")
        if self.interface == "parallel_gripper_command" and not self.finger_joint:
            raise InputError("finger_joint: expected the joint that parallel_gripper_command names, got none")

    @property
    def topics(self) -> tuple[str, ...]:
        """That it is commanded by: none where this is an action."""
        return () if self.interface in ACTIONS else (self.name,)

    def position_of(self, opening: float) -> float:
        """The gripper's command for an opening, 0 closed to 1 open."""
        return self.finger_closed + opening * (self.finger_open - self.finger_closed)
