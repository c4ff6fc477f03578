"""The commands that answer the bridge's observations: checks and keeps them, and publishes verdicts."""

from collections import deque
from collections.abc import Sequence

from stvla_ros.control.command_identity import GoalUnderWay
from stvla_ros.control.displacement import Displacement
from stvla_ros.errors import InputError
from stvla_ros.msg import CommandVerdict, EndEffectorCommand
from stvla_ros.nodes.kit.base import RELIABLE_QOS, StvlaNode
from stvla_ros.nodes.kit.messages import (
    command_to_action,
    identity_of,
    make_header,
    make_uuid,
    stamp_ns,
)
from stvla_ros.nodes.kit.verdicts import tell_moved
from stvla_ros.nodes.simulation.command_inbox import CommandInbox, Received
from stvla_ros.sim.environment import EnvironmentInfo

# More observations than lie between one and the last command of its chunk.
_SHOWN_KEPT = 1024
NO_ANSWER = "command for another observation"


class BridgeCommands:
    """:ivar inbox: commands that were not executed yet, from ``subscribe`` on."""

    inbox: CommandInbox

    def __init__(self, node: StvlaNode) -> None:
        self._node = node
        # Stamps of the last observations.
        self._shown: deque[int] = deque(maxlen=_SHOWN_KEPT)

    def serve(self, info: EnvironmentInfo, driven: bool) -> None:
        """Call this from the node's ``configure``.

        :param driven: whether the robot's driver drives the joints. Then the driver reports on commands.
        """
        self._base_frame, self._driven = info.base_frame, driven
        self._goals = GoalUnderWay(info.robot)
        self._verdicts = self._node.create_publisher(CommandVerdict, "command_verdict", RELIABLE_QOS)

    def subscribe(self) -> None:
        """Call this from the node's ``activate``."""
        self.inbox = CommandInbox(self._on_forgotten)
        self._node.subscribe(EndEffectorCommand, "command", self._on_command)

    def show(self, stamp: int) -> None:
        """From now on, commands may answer the observation with this stamp."""
        self._shown.append(stamp)

    def judge(self, command: Received, refused: str = "") -> None:
        """Report on a command.

        :param refused: reason why it is not executed; empty when it is.
        """
        if self._driven:
            return
        verdict = CommandVerdict(header=make_header(command.stamp, self._base_frame), executed=not refused)
        verdict.goal_id, verdict.refused = make_uuid(command.goal_id), refused
        tell_moved(verdict, Displacement.none() if refused else Displacement.of(command.action), self._node.now_ns())
        self._verdicts.publish(verdict)

    def _on_command(self, message: EndEffectorCommand) -> None:
        node = self._node
        node.stage.received()
        try:
            action, identity = command_to_action(message, "command"), identity_of(message)
            if node.run.is_foreign(message.run, "topic command"):
                return
            if stranger := self._goals.refusal(identity, node.now_ns()):
                raise InputError(f"topic command: {stranger}")
            self._take(Received(stamp_ns(message.header), action, identity.goal_id))
        except InputError as error:
            node.reject("command", str(error))

    def _take(self, command: Received) -> None:
        if command.stamp in self._shown:
            self.inbox.put(command)
            return
        self._node.stage.dropped(NO_ANSWER)
        self._node.get_logger().warning(
            f"topic command: a {NO_ANSWER} than those of this run came, and is not executed", once=True
        )
        self.judge(command, refused=f"no answer: a {NO_ANSWER} than those of this run")

    def _on_forgotten(self, commands: Sequence[Received]) -> None:
        self._node.stage.dropped(NO_ANSWER, len(commands))
        for command in commands:
            self.judge(command, refused="replaced: another command was executed in its control step")
