"""The figure of the arm in the video: the only sight of a stand-in's motion."""

from pathlib import Path

import numpy as np
from sensor_msgs.msg import JointState
from std_msgs.msg import String

from stvla_ros.errors import InputError
from stvla_ros.nodes.kit.base import LATCHED_QOS, RELIABLE_QOS, StvlaNode
from stvla_ros.robots.arm_figure import ArmFigure
from stvla_ros.robots.embodiments import ROBOT_DESCRIPTION, ArmDescription, find_embodiment

_SIZE = (480, 360)


class ShownArm:
    """Make it in the node's ``__init__``: it declares the parameter ``show_arm``. The executor's thread writes the
    joints, another one draws.
    """

    def __init__(self, node: StvlaNode) -> None:
        self._node = node
        robot = node.parameter(
            "show_arm", "", "robot whose arm a pane of the video shows, by joint_states; empty: none"
        )
        self._arm: ArmDescription | None = None
        if robot:
            driver = find_embodiment(robot).driver
            self._arm = driver.arm if driver else None
        self._figure: ArmFigure | None = None
        self._joints: dict[str, float] = {}

    def subscribe(self) -> None:
        if self._arm is None:
            return
        if self._arm.urdf == ROBOT_DESCRIPTION:
            self._node.subscribe(String, "robot_description", self._describe, LATCHED_QOS, watched=False)
        else:
            self._make(Path(self._arm.urdf), "parameter show_arm")
        self._node.subscribe(JointState, "joint_states", self._move, RELIABLE_QOS, watched=False)

    def pictures(self) -> dict[str, np.ndarray]:
        """The pane by its title; no pane for a robot without an arm's description. Before there are joints, the arm
        stands at zero.
        """
        if self._arm is None:
            return {}
        joints = dict.fromkeys(self._arm.joints, 0.0) | self._joints
        if self._figure is None:
            return {"arm: not described yet": np.zeros((*_SIZE[::-1], 3), np.uint8)}
        return {"arm" if self._joints else "arm: no joint states yet": self._figure.draw(joints, _SIZE)}

    def _describe(self, message: String) -> None:
        self._make(message.data, "topic robot_description")

    def _make(self, urdf: str | Path, source: str) -> None:
        # No video is lost for the sake of one pane.
        try:
            self._figure = ArmFigure(urdf, self._arm.joints, self._arm.tool_frame)
        except InputError as error:
            self._node.reject("arm", f"{source}: {error}")

    def _move(self, message: JointState) -> None:
        # A topic may carry other joints as well, or only a part of the arm's.
        own = {name: value for name, value in zip(message.name, message.position) if name in self._arm.joints}
        if all(np.isfinite(value) for value in own.values()):
            self._joints = self._joints | own
