"""What the stand-ins of arms share: joint states, and the interface of a gripper that the arm's own driver does not
handle, around a stand-in of its finger.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rclpy.action import ActionServer
from rclpy.publisher import Publisher
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64, Float64MultiArray

from stvla_ros.nodes.kit.base import RELIABLE_QOS, StvlaNode
from stvla_ros.nodes.kit.messages import make_header
from stvla_ros.robots.fake_arm import FakeFinger
from stvla_ros.robots.gripper_settings import ACTIONS, GripperSettings


def joint_states(node: StvlaNode, said: Mapping[str, float]) -> JointState:
    """:param said: positions by the joints' names, rad or m."""
    header = make_header(node.now_ns(), "")
    return JointState(header=header, name=list(said), position=list(said.values()), velocity=[0.0] * len(said))


class FakeGripper:
    """:param refuse: told of each message that would harm a real gripper."""

    def __init__(self, node: StvlaNode, settings: GripperSettings, refuse: Callable[[str], None]) -> None:
        self._node, self._settings, self._refuse = node, settings, refuse
        self._finger = FakeFinger(settings.finger_closed, settings.finger_open)
        self._server: ActionServer | None = None
        self._own_states: Publisher | None = None
        self._goals: list[Any] = []

    def offer(self, arm_topics: Sequence[str]) -> None:
        """Offer the finger's joint states and the gripper's action, if these are its own; in the node's ``configure``.

        :param arm_topics: topics on which the arm tells its joints.
        """
        topic = self._settings.joint_states_topic
        own = topic and topic not in arm_topics
        self._own_states = self._node.create_publisher(JointState, topic, RELIABLE_QOS) if own else None
        if self._settings.interface in ACTIONS:
            from control_msgs import action

            self._action = getattr(action, ACTIONS[self._settings.interface].rpartition("/")[2])
            self._server = ActionServer(
                self._node, self._action, self._settings.name, self._result, handle_accepted_callback=self._on_goal
            )

    def listen(self) -> None:
        """Take positions or openings, if these are its interface, while the node is active."""
        settings = self._settings
        if settings.interface == "positions":
            self._node.subscribe(Float64MultiArray, settings.name, self._on_positions, watched=False)
        elif settings.interface == "opening":
            self._node.subscribe(Float64, settings.name, self._on_opening, watched=False)

    def destroy(self) -> None:
        if self._server is not None:
            self._server.destroy()
            self._server = None

    def step(self, said: dict[str, float]) -> None:
        """End the goals that are over, and tell where the finger is, if it has a joint.

        :param said: positions that the arm tells next, by the joints' names; the finger's is added if it has no topic
            of its own.
        """
        self._end_goals()
        if not (joint := self._settings.finger_joint):
            return
        finger = {joint: self._finger.position(time.monotonic())}
        if self._own_states is None:
            said |= finger
        else:
            self._own_states.publish(joint_states(self._node, finger))

    def _on_positions(self, message: Float64MultiArray) -> None:
        self._move_all(message.data)

    def _on_opening(self, message: Float64) -> None:
        self._move(self._settings.position_of(message.data))

    def _move_all(self, positions: Sequence[float]) -> None:
        if len(positions) == 1:
            self._move(positions[0])
        else:
            self._refuse(f"gripper: expected one position, got {len(positions)}")

    def _move(self, position: float) -> None:
        if not self._finger.command(position, time.monotonic()):
            self._refuse(f"gripper: expected a position within its limits, got {position:g}")

    def _on_goal(self, goal: Any) -> None:
        """A new goal ends the one before, as in the real controllers."""
        said = goal.request.command.position
        self._goals.append(goal)
        self._move_all([said] if isinstance(said, float) else said)

    def _result(self, goal: Any) -> Any:
        goal.succeed() if self._finger.arrived(time.monotonic()) else goal.abort()
        return self._action.Result()

    def _end_goals(self) -> None:
        arrived = self._finger.arrived(time.monotonic())
        ended = self._goals if arrived else self._goals[:-1]
        self._goals = [] if arrived else self._goals[-1:]
        for goal in ended:
            goal.execute()
