"""Adds a policy's further inputs to each observation: the robot's state, the scripted expert's answer."""

import threading
from collections.abc import Callable
from dataclasses import replace

from sensor_msgs.msg import JointState

from stvla_ros.control.actions import EndEffectorAction
from stvla_ros.errors import InputError
from stvla_ros.msg import ActionChunk
from stvla_ros.nodes.kit.base import StvlaNode
from stvla_ros.nodes.kit.joins import Pairing
from stvla_ros.nodes.kit.messages import command_to_action, stamp_ns
from stvla_ros.nodes.server.robot_states import RobotStates
from stvla_ros.policy.base import InputNeeds, PolicyInput

# Largest number of expert chunks and observations that wait for each other; more than are ever on their way at once.
PENDING = 16


class NeededInputs:
    """Make it in the node's ``configure``.

    :param needs: needs of the policy.
    :param lock: lock that is held whenever ``take`` is called.
    :param take: function that is called for each complete observation.
    """

    def __init__(
        self, node: StvlaNode, needs: InputNeeds, lock: threading.RLock, take: Callable[[PolicyInput], None]
    ) -> None:
        self._node, self._needs, self._lock, self._take = node, needs, lock, take
        self._states = RobotStates(node, self._with_state)
        self._pairs: Pairing[PolicyInput, tuple[EndEffectorAction, ...]] = Pairing(
            "observation", "expert chunk", PENDING, lambda side: node.stage.dropped(f"{side} without partner")
        )

    def subscribe(self) -> None:
        """Subscribe to the topics of the needed inputs while the node is active."""
        if self._needs.expert:
            self._node.subscribe(ActionChunk, "expert_chunk", self._on_expert_chunk)
        if self._needs.state:
            self._node.subscribe(JointState, "joint_states", self._on_joint_states)

    def add(self, observation: PolicyInput) -> None:
        """Take an observation. The caller holds the lock."""
        if self._needs.state:
            self._states.add(observation)
        else:
            self._with_state(observation)

    def forget_episode(self) -> None:
        """Forget the observations that wait for an answer of the expert. The caller holds the lock."""
        self._pairs.clear()

    def clear(self) -> None:
        """Forget everything. The caller holds the lock."""
        self._pairs.clear()
        self._states.clear()

    def _with_state(self, observation: PolicyInput) -> None:
        if not self._needs.expert:
            self._take(observation)
        elif pair := self._pairs.add("observation", observation.stamp, observation):
            self._take(replace(pair[0], expert_actions=pair[1]))

    def _on_joint_states(self, message: JointState) -> None:
        with self._lock:
            self._states.add_joints(message)

    def _on_expert_chunk(self, chunk: ActionChunk) -> None:
        try:
            actions = tuple(command_to_action(command, "expert_chunk") for command in chunk.actions)
        except InputError as error:
            self._node.reject("expert_chunk", str(error))
            return
        with self._lock:
            if pair := self._pairs.add("expert chunk", stamp_ns(chunk.header), actions):
                self._take(replace(pair[0], expert_actions=pair[1]))
