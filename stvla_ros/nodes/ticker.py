"""A thread that calls back at a steady rate, whatever the executor and the node's clock do."""

import threading
import time
from collections.abc import Callable


class Ticker:
    """
    :param period_s: seconds between two calls; a call that comes late does not make the next ones hurry.
    :param tick: called in the ticker's thread.
    :param on_error: called with whatever ``tick`` raises; the ticker goes on.
    """

    def __init__(self, period_s: float, tick: Callable[[], None], on_error: Callable[[Exception], None]) -> None:
        self._period_s, self._tick, self._on_error = period_s, tick, on_error
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ticker", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End after the current call. Not to be called from ``tick``."""
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        due = time.monotonic()
        while True:
            due = max(due + self._period_s, time.monotonic())
            if self._stopping.wait(max(0.0, due - time.monotonic())):
                return
            try:
                self._tick()
            except Exception as error:
                self._on_error(error)
