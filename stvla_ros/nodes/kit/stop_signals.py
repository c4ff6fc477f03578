"""Ctrl-C and SIGTERM: while a node starts they interrupt it; afterwards they tell it to end in order."""

import signal
import socket
import threading
from collections.abc import Callable
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopSignals:
    """Make it in the main thread.

    A waiting executor is deep in C, where Python's handlers do not run. Python's own C handler writes the signal's
    number into a socket at once; a thread reads it and wakes the executor.
    """

    def __init__(self) -> None:
        self.stop = False
        self._wake: Callable[[], None] | None = None
        self._reader, self._writer = socket.socketpair()
        self._writer.setblocking(False)
        signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        for number in _SIGNALS:
            signal.signal(number, self._on_signal)
        threading.Thread(target=self._listen, name="signals", daemon=True).start()

    def wake(self, wake: Callable[[], None]) -> None:
        """From now on a signal sets ``stop`` and calls ``wake``, from another thread, instead of interrupting."""
        self._wake = wake

    def ignore(self) -> None:
        """A second Ctrl-C (a terminal sends one, a launcher another) must not cut the clean-up short.

        What was to be woken is let go.
        """
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        self._wake = lambda: None

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self._wake is None:
            raise KeyboardInterrupt

    def _listen(self) -> None:
        while numbers := self._reader.recv(64):
            if self._wake is not None and any(number in _SIGNALS for number in numbers):
                self.stop = True
                self._wake()
