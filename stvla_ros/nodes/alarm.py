"""A thread that calls back when something is due, so that neither the executor nor a busy stage delays it."""

import threading
from collections.abc import Callable

# Node clocks can run at other speeds than the machine's (a recording's time), so the clock is asked again this often.
LONGEST_WAIT_S = 0.02


class Alarm:
    """
    :param ring: does what is due, and returns the seconds until more is, None when that depends on :meth:`wake`.
    :param on_error: called in the alarm's thread with whatever ``ring`` raises; it is called again after a wake.
    """

    def __init__(self, name: str, ring: Callable[[], float | None], on_error: Callable[[Exception], None]) -> None:
        self._ring = ring
        self._on_error = on_error
        self._woken = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Something changed: look at once what is due. May be called from any thread, and with locks held."""
        self._woken.set()

    def stop(self, timeout_s: float = 5.0) -> None:
        """End the thread. Not to be called from ``ring`` or with a lock that it takes. Safe to call twice."""
        self._stopping = True
        self._woken.set()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        wait_s: float | None = None
        while True:
            self._woken.wait(None if wait_s is None else min(wait_s, LONGEST_WAIT_S))
            self._woken.clear()
            if self._stopping:
                return
            try:
                wait_s = self._ring()
            except Exception as error:
                wait_s = None
                self._on_error(error)
