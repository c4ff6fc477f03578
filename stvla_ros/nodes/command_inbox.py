"""Where commands wait for the simulator's thread."""

import threading

from stvla_ros.control.actions import EndEffectorAction


class CommandInbox:
    """The commands that arrived and were not yet executed, by the stamp of the observation that they answer. Thread-safe."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._commands: dict[int, EndEffectorAction] = {}
        self._closed = False

    def put(self, stamp: int, action: EndEffectorAction) -> None:
        with self._changed:
            self._commands[stamp] = action
            self._changed.notify_all()

    def wait_for(self, stamps: set[int], timeout_s: float) -> tuple[int, EndEffectorAction] | None:
        """The newest command that answers one of the stamps, and its stamp; None when none comes in time."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._commands.keys() & stamps, timeout_s)
            answered = self._commands.keys() & stamps
            if not answered:
                return None
            stamp = max(answered)
            return stamp, self._commands.pop(stamp)

    def take_newest(self) -> tuple[int, EndEffectorAction] | None:
        """The newest command and its stamp, each only once; older ones are forgotten. None when there is none."""
        with self._changed:
            if not self._commands:
                return None
            stamp = max(self._commands)
            action = self._commands[stamp]
            self._commands.clear()
            return stamp, action

    def clear(self) -> None:
        with self._changed:
            self._commands.clear()

    def close(self) -> None:
        """Let nobody wait any longer."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
