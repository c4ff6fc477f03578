"""The threads of the nodes: a worker behind a bounded queue, an alarm for due work, a ticker with an even beat.

The executor's thread never waits for any of them.
"""

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

from stvla_ros.nodes.kit.realtime import realtime

Item = TypeVar("Item")

FULL = "queue full"
FORGOTTEN = "forgotten at a reset or the end"
# Node clocks may run at other speeds than the machine's (a recording's time), so the clock is read again at this
# interval.
LONGEST_WAIT_S = 0.02


class Worker(Generic[Item]):
    """A thread that processes each submitted item, in order. A full queue drops its oldest item.

    :param name: name of the thread, for stack traces.
    :param process: function that processes one item.
    :param queue_size: largest number of waiting items, at least 1.
    :param on_drop: function that gets the reason (``FULL`` or ``FORGOTTEN``) and the number of items that are never
        processed.
    :param on_error: function that gets any exception of ``process``, in the worker's thread; the next item follows.
    """

    def __init__(
        self,
        name: str,
        process: Callable[[Item], None],
        queue_size: int,
        on_drop: Callable[[str, int], None],
        on_error: Callable[[Exception], None],
    ) -> None:
        self._process = process
        self._on_drop = on_drop
        self._on_error = on_error
        self._queue: deque[Item] = deque()
        self._queue_size = queue_size
        self._changed = threading.Condition()
        self._busy = False
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def submit(self, item: Item) -> None:
        """Queue an item. After :meth:`stop` it is dropped."""
        reason = None
        with self._changed:
            if self._stopping:
                reason = FORGOTTEN
            else:
                if len(self._queue) >= self._queue_size:
                    self._queue.popleft()
                    reason = FULL
                self._queue.append(item)
                # All threads: one in `run_idle` may wait on the same condition, and would swallow a single wake-up.
                self._changed.notify_all()
        if reason:
            self._on_drop(reason, 1)

    def is_idle(self) -> bool:
        """Whether everything submitted so far has been processed."""
        with self._changed:
            return not self._queue and not self._busy

    def run_idle(self, action: Callable[[], None], timeout_s: float) -> bool:
        """Forget waiting items, let the current item end, then run ``action`` while nothing is processed.

        Do not call this from ``process``.

        :return: False when the current item did not end in time; then nothing was changed.
        """
        with self._changed:
            self._forget()
            idle = self._changed.wait_for(lambda: not self._busy, timeout_s)
            if idle:
                action()
        return idle

    def stop(self, timeout_s: float = 5.0) -> None:
        """Drop waiting items, and end the thread after the current item. Safe to call twice."""
        with self._changed:
            self._stopping = True
            self._forget()
            self._changed.notify_all()
        if threading.current_thread() is not self._thread:
            self._thread.join(timeout_s)

    def _forget(self) -> None:
        forgotten = len(self._queue)
        self._queue.clear()
        if forgotten:
            self._on_drop(FORGOTTEN, forgotten)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._queue or self._stopping)
                if self._stopping:
                    return
                item = self._queue.popleft()
                self._busy = True
            try:
                self._process(item)
            except Exception as error:
                self._on_error(error)
            finally:
                with self._changed:
                    self._busy = False
                    self._changed.notify_all()


class Alarm:
    """A thread that does due work, at times that are only known as they come.

    :param name: name of the thread, for stack traces.
    :param ring: function that does the due work. It returns the seconds until the next work, or None when that depends
        on :meth:`wake`.
    :param on_error: function that gets any exception of ``ring``, in the alarm's thread; ``ring`` is called again after
        a wake.
    """

    def __init__(self, name: str, ring: Callable[[], float | None], on_error: Callable[[Exception], None]) -> None:
        self._ring = ring
        self._on_error = on_error
        self._woken = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Something has changed: check at once what is due. May be called from any thread, and with locks held."""
        self._woken.set()

    def stop(self, timeout_s: float = 5.0) -> None:
        """End the thread. Do not call this from ``ring``, or with a lock that it takes. Safe to call twice."""
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


class Ticker:
    """A thread with an even beat.

    :param period_s: time between two beats; a late beat does not make the next ones hurry.
    :param tick: function that does the work of one beat.
    :param on_error: function that gets any exception of ``tick``, in the ticker's thread; the beat continues.
    :param realtime_priority: priority of the thread; call :func:`check_realtime` first.
    """

    def __init__(
        self,
        period_s: float,
        tick: Callable[[], None],
        on_error: Callable[[Exception], None],
        realtime_priority: int = 0,
    ) -> None:
        self._period_s, self._tick, self._on_error = period_s, tick, on_error
        self._priority = realtime_priority
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ticker", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread after the current beat. Do not call this from ``tick``. Safe to call twice."""
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        with realtime(self._priority):
            self._beat()

    def _beat(self) -> None:
        due = time.monotonic()
        while True:
            due = max(due + self._period_s, time.monotonic())
            if self._stopping.wait(max(0.0, due - time.monotonic())):
                return
            try:
                self._tick()
            except Exception as error:
                self._on_error(error)
