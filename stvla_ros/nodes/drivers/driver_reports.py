"""A driver's reports: its state, its setpoints, and the verdict on each command."""

import time
from collections.abc import Sequence

from sensor_msgs.msg import JointState

from stvla_ros.control.safety.requests import Setpoint
from stvla_ros.msg import CommandVerdict, DriverState
from stvla_ros.nodes.kit.base import RELIABLE_QOS, STATE_QOS, StvlaNode
from stvla_ros.nodes.kit.messages import make_header

_REPEAT_S = 1.0


class DriverReports:
    """Make it in the node's ``configure``."""

    def __init__(self, node: StvlaNode, base_frame: str) -> None:
        self._node, self._base_frame = node, base_frame
        self._verdicts = node.create_publisher(CommandVerdict, "command_verdict", RELIABLE_QOS)
        self._states = node.create_publisher(DriverState, "driver_state", STATE_QOS)
        self._setpoints = node.create_publisher(JointState, "setpoint", RELIABLE_QOS)
        self._told: tuple[int, list[str], str] | None = None
        self._told_at = 0.0

    def verdict(self, verdict: CommandVerdict) -> None:
        self._verdicts.publish(verdict)

    def setpoint(self, names: Sequence[str], setpoint: Setpoint) -> None:
        """Publish the robot's command; in a dry run, the command that it would get."""
        message = JointState(header=make_header(self._node.now_ns(), self._base_frame))
        message.name, message.position = list(names), setpoint.position.tolist()
        message.velocity = setpoint.velocity.tolist()
        if setpoint.gripper is not None:
            message.name, message.position = [*message.name, "gripper"], [*message.position, setpoint.gripper]
            message.velocity = [*message.velocity, 0.0]
        self._setpoints.publish(message)

    def state(self, phase: int, held_by: list[str], detail: str, dry_run: bool) -> None:
        """Publish the state when it changes, and now and then."""
        now, told = time.monotonic(), (phase, held_by, detail)
        if told == self._told and now - self._told_at < _REPEAT_S:
            return
        self._told, self._told_at = told, now
        header = make_header(self._node.now_ns(), self._base_frame)
        self._states.publish(DriverState(header=header, phase=phase, held_by=held_by, detail=detail, dry_run=dry_run))
