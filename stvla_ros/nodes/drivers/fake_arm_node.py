"""What the stand-in nodes of arms share whose gripper has an interface of its own: the robot, where the arm begins, the
gripper, joint states by a timer, and the count of messages that would harm a real arm.
"""

from collections.abc import Sequence
from typing import Any, Generic, TypeVar

from stvla_ros.errors import InputError
from stvla_ros.nodes.drivers.fake_gripper import FakeGripper
from stvla_ros.nodes.kit.base import StvlaNode
from stvla_ros.robots.embodiments import find_embodiment
from stvla_ros.robots.ros2_control_settings import Ros2ControlSettings
from stvla_ros.robots.servo_settings import ServoSettings
from stvla_ros.settings import build

_JOINT_STATES_HZ = 100.0

Settings = TypeVar("Settings", Ros2ControlSettings, ServoSettings)


class FakeArmNode(StvlaNode, Generic[Settings]):
    """A subclass makes the arm and offers its interface, beside what this class does in ``configure`` and ``activate``.

    :param kind: class of ``driver.settings`` of the robot's file.
    :raises InputError: for a robot whose file does not describe its arm, or other settings.
    """

    def __init__(self, name: str, kind: type[Settings]) -> None:
        super().__init__(name)
        robot = self.parameter("robot", "", "embodiment, or a YAML file that describes one")
        start = self.parameter("start", "rest", "where the arm is at the start", choices=("rest", "home"))
        self.embodiment = find_embodiment(robot)
        driver = self.embodiment.driver
        if driver is None or driver.arm is None:
            raise InputError(f"parameter robot: expected one with driver.arm, got {robot!r}")
        self.driver, self.arm_description = driver, driver.arm
        self.settings: Settings = build(kind, dict(driver.settings), "driver.settings.")
        self.begin = (driver.home if start == "home" else driver.rest) or driver.home
        """Joint positions at the start, as far as the robot's file has any."""
        gripper = self.settings.gripper
        self._gripper = FakeGripper(self, gripper, self.refuse) if gripper else None
        self._unsafe = 0

    def configure(self) -> None:
        if self._gripper is not None:
            self._gripper.offer(self.arm_topics)
        self.every(1.0 / _JOINT_STATES_HZ, self._tell)

    def activate(self) -> None:
        if self._gripper is not None:
            self._gripper.listen()

    def cleanup(self) -> None:
        if self._gripper is not None:
            self._gripper.destroy()

    def extra_diagnostics(self) -> dict[str, Any]:
        return {"unsafe_commands": self._unsafe}

    @property
    def arm_topics(self) -> Sequence[str]:
        """Topics on which the stand-in tells its joints; a gripper's other ones are its own."""
        return self.settings.joint_states_topics

    def refuse(self, problem: str) -> None:
        """Count a message that would harm a real arm, and report it."""
        self._unsafe += 1
        self.reject("command", problem)

    def publish_joints(self) -> None:
        """Publish where the joints are; called at 100 Hz while the node is active."""
        raise NotImplementedError

    def step_gripper(self, said: dict[str, float]) -> None:
        """As ``FakeGripper.step``, if there is a gripper."""
        if self._gripper is not None:
            self._gripper.step(said)

    def _tell(self) -> None:
        if self.is_active:
            self.publish_joints()
