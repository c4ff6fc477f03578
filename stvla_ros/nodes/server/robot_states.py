"""Adds the robot's state to the observations of policies that need it."""

from collections import deque
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from sensor_msgs.msg import JointState

from stvla_ros.nodes.kit.base import StvlaNode
from stvla_ros.nodes.kit.messages import stamp_ns
from stvla_ros.policy.base import PolicyInput, RobotState

# More joint states than any robot sends between an observation and the perception's answer to it.
KEPT = 512


class RobotStates:
    """An observation gets the last joint state that is not newer than it. It waits until a joint state of its time or
    later is there, so that the answer does not depend on which message is faster. The caller holds the lock.

    :param take: function that is called with each observation that has its state.
    """

    def __init__(self, node: StvlaNode, take: Callable[[PolicyInput], None]) -> None:
        self._node, self._take = node, take
        self._states: deque[tuple[int, RobotState]] = deque(maxlen=KEPT)
        self._waiting: PolicyInput | None = None

    def clear(self) -> None:
        self._states.clear()
        self._waiting = None

    def add(self, observation: PolicyInput) -> None:
        """Take an observation; an earlier one that still waits is given up."""
        if self._waiting is not None:
            self._node.stage.dropped("observation without joint states")
        self._waiting = observation
        self._hand_on()

    def add_joints(self, message: JointState) -> None:
        if len(message.name) != len(message.position) or not np.isfinite(message.position).all():
            self._node.reject("joint_states", "topic joint_states: expected one finite position for each name")
            return
        stamp = stamp_ns(message.header)
        if self._states and stamp < self._states[-1][0]:
            self._states.clear()  # the source started anew
        self._states.append((stamp, RobotState(dict(zip(message.name, message.position, strict=True)))))
        self._hand_on()

    def _hand_on(self) -> None:
        observation = self._waiting
        if observation is None or not self._states or self._states[-1][0] < observation.stamp:
            return
        earlier = [state for stamp, state in self._states if stamp <= observation.stamp]
        if not earlier:
            return  # the first joint state is newer; the next observation will have one
        self._waiting = None
        self._take(replace(observation, state=earlier[-1]))
