"""The robot and the goal that a command belongs to. By this one rule a robot's driver and the simulator's bridge tell
their own commands from others'.
"""

from collections import deque
from dataclasses import dataclass

GOAL_ID_BYTES = 16
NO_GOAL = bytes(GOAL_ID_BYTES)
# Ids of goals that are over. Only a goal's last commands can still be on their way, so few are needed.
_IDS_KEPT = 64
# The action server may run on a computer whose clock is a little ahead.
_FUTURE_NS = 100_000_000


@dataclass(frozen=True)
class CommandIdentity:
    """
    :param robot: name of the embodiment that the command is for; empty in commands from unknown senders.
    :param goal_id: id of the goal of ``execute_instruction``, 16 bytes; ``NO_GOAL`` for a proposal, which nobody
        executes.
    :param goal_stamp: time at which the action server accepted the goal, ns of the server's clock; 0 without a goal.
    """

    robot: str
    goal_id: bytes = NO_GOAL
    goal_stamp: int = 0


class GoalUnderWay:
    """Decides which commands one robot may execute: those that name it and belong to the newest goal.

    At most one goal runs. So commands of another goal are only accepted if that goal was accepted later. It then
    replaces the previous one, whose commands are refused from then on. Not thread-safe.

    :param robot: name of the embodiment.
    """

    def __init__(self, robot: str) -> None:
        self._robot = robot
        self._goal = CommandIdentity(robot)
        # A goal that begins must have been accepted after this moment, ns.
        self._after = 0
        self._over: deque[bytes] = deque(maxlen=_IDS_KEPT)

    def refusal(self, command: CommandIdentity, now_ns: int) -> str:
        """The reason why the command must not be executed. Empty when it may be; its goal is then the current one."""
        if command.robot != self._robot:
            named = f"robot {command.robot!r}" if command.robot else "no robot"
            return f"robot: expected a command for {self._robot!r}, got one for {named}"
        if command.goal_id == NO_GOAL or command.goal_stamp <= 0:
            return "goal: expected goal_id and goal_stamp of a goal of execute_instruction, got none"
        if command.goal_id in self._over:
            return "goal: the goal of this command is over; only a new goal is executed"
        if command.goal_id == self._goal.goal_id:
            if command.goal_stamp != self._goal.goal_stamp:
                return "goal: expected the goal_stamp of the goal under way, got another one with its goal_id"
            return ""
        if command.goal_stamp <= self._after:
            return "goal: expected one accepted after the last goal and the last reset, got an older one"
        if command.goal_stamp > now_ns + _FUTURE_NS:
            ahead_s = (command.goal_stamp - now_ns) * 1e-9
            return f"goal: goal_stamp from the future, {ahead_s:.2f} s ahead; set the computers' clocks"
        self._end()
        self._goal, self._after = command, command.goal_stamp
        return ""

    def retire(self, now_ns: int) -> None:
        """Refuse all goals that were accepted until now: after a stop, only a new goal moves the arm."""
        self._end()
        self._after = now_ns

    def clock_jumped(self) -> None:
        """Stamps before and after the jump cannot be compared: until the next goal begins, only ids tell goals
        apart.
        """
        self._after = 0

    def _end(self) -> None:
        if self._goal.goal_id != NO_GOAL:
            self._over.append(self._goal.goal_id)
        self._goal = CommandIdentity(self._robot)
