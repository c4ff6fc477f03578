"""Where commands wait for the simulator's thread."""

import threading
from collections.abc import Callable

from stvla_ros.control.actions import EndEffectorAction

# More commands than ever are on their way at once; a publisher that answers nothing must not fill the memory.
MOST_KEPT = 64


class CommandInbox:
    """The commands that arrived and were not yet executed, by the stamp of the observation they answer. Thread-safe.

    :param on_forget: called with the number of commands that will never be executed.
    """

    def __init__(self, on_forget: Callable[[int], None]) -> None:
        self._on_forget = on_forget
        self._changed = threading.Condition()
        self._commands: dict[int, EndEffectorAction] = {}
        self._closed = False

    def put(self, stamp: int, action: EndEffectorAction) -> None:
        with self._changed:
            # Taken out first, so that the order is that of arrival.
            forgotten = self._commands.pop(stamp, None) is not None
            self._commands[stamp] = action
            if len(self._commands) > MOST_KEPT:
                del self._commands[next(iter(self._commands))]
                forgotten = True
            if forgotten:
                self._on_forget(1)
            self._changed.notify_all()

    def wait_for(self, stamps: set[int], timeout_s: float) -> tuple[int, EndEffectorAction] | None:
        """The newest command that answers one of the stamps, and its stamp; all others are then forgotten.

        :return: None when none comes in time or before the inbox is closed.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._commands.keys() & stamps, timeout_s)
            answered = self._commands.keys() & stamps
            if not answered:
                return None
            stamp = max(answered)
            action = self._commands.pop(stamp)
            self.clear()
            return stamp, action

    def take_newest(self, since: int) -> tuple[int, EndEffectorAction] | None:
        """The newest command and its stamp, each only once; all others are forgotten.

        :param since: commands that answer an older observation than this stamp, ns, are of an episode that is over.
        :return: None when there is none.
        """
        with self._changed:
            stamp = max(self._commands, default=since - 1)
            action = self._commands.pop(stamp) if stamp >= since else None
            self.clear()
            return None if action is None else (stamp, action)

    def clear(self) -> None:
        with self._changed:
            if self._commands:
                self._on_forget(len(self._commands))
            self._commands.clear()

    def close(self) -> None:
        """Let nobody wait any longer."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
