"""Holds commands for the simulator's thread."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from stvla_ros.control.actions import EndEffectorAction
from stvla_ros.control.command_identity import NO_GOAL

# More commands than are ever on their way at once; a publisher that answers nothing must not fill the memory.
MOST_KEPT = 64


@dataclass(frozen=True)
class Received:
    """A command.

    :param stamp: stamp of the observation that it answers, ns.
    :param goal_id: id of the goal that it belongs to, 16 bytes.
    """

    stamp: int
    action: EndEffectorAction
    goal_id: bytes = NO_GOAL


class CommandInbox:
    """Commands that have arrived and are not yet executed, by the stamp of the observation that they answer.
    Thread-safe.

    :param on_forget: function that is called with commands that will never be executed.
    """

    def __init__(self, on_forget: Callable[[Sequence[Received]], None]) -> None:
        self._on_forget = on_forget
        self._changed = threading.Condition()
        self._commands: dict[int, Received] = {}
        self._closed = False

    def put(self, command: Received) -> None:
        with self._changed:
            # Removed first, so that the order is that of arrival.
            forgotten = self._commands.pop(command.stamp, None)
            self._commands[command.stamp] = command
            if len(self._commands) > MOST_KEPT:
                forgotten = self._commands.pop(next(iter(self._commands)))
            if forgotten is not None:
                self._on_forget([forgotten])
            self._changed.notify_all()

    def wait_for(self, stamps: set[int], timeout_s: float) -> Received | None:
        """Wait for the newest command that answers one of the stamps; all others are then forgotten.

        :return: the command; None when none comes in time or before the inbox is closed.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._commands.keys() & stamps, timeout_s)
            answered = self._commands.keys() & stamps
            if not answered:
                return None
            newest = self._commands.pop(max(answered))
            self.clear()
            return newest

    def take_newest(self, since: int) -> Received | None:
        """Take the newest command, each only once; all others are forgotten.

        :param since: oldest stamp in nanoseconds; commands that answer an older observation belong to an episode that
            is over.
        :return: the command; None when there is none.
        """
        with self._changed:
            stamp = max(self._commands, default=since - 1)
            newest = self._commands.pop(stamp) if stamp >= since else None
            self.clear()
            return newest

    def clear(self) -> None:
        with self._changed:
            if self._commands:
                self._on_forget(list(self._commands.values()))
            self._commands.clear()

    def close(self) -> None:
        """End all waiting."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
