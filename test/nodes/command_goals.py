"""The goals that tests' commands belong to, as the action server would make them."""

import time
import uuid
from typing import Any

from stvla_ros.control.command_identity import CommandIdentity
from stvla_ros.msg import CommandVerdict, EndEffectorCommand
from stvla_ros.nodes.kit.messages import make_uuid, ns_to_time


def new_goal(robot: str, accepted_ns: int | None = None) -> CommandIdentity:
    """:param accepted_ns: by the server's clock; None: now."""
    return CommandIdentity(robot, uuid.uuid4().bytes, time.time_ns() if accepted_ns is None else accepted_ns)


def of_goal(message: EndEffectorCommand, goal: CommandIdentity) -> EndEffectorCommand:
    """The same message, which is of this goal from now on."""
    message.robot, message.goal_id = goal.robot, make_uuid(goal.goal_id)
    message.goal_stamp = ns_to_time(goal.goal_stamp)
    return message


def verdict_on(command: EndEffectorCommand, **fields: Any) -> CommandVerdict:
    """What a driver says of the command."""
    return CommandVerdict(header=command.header, goal_id=command.goal_id, **fields)
