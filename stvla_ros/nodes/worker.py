"""A thread that works through a bounded queue, so that the executor's thread never waits for a stage."""

import threading
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Worker(Generic[Item]):
    """Call ``process`` for each submitted item in order, in a thread of its own. A full queue drops its oldest item.

    :param process: called with each item; must not raise.
    :param queue_size: most items that wait, at least 1.
    :param on_drop: called with each dropped item in the submitter's thread.
    """

    def __init__(
        self, name: str, process: Callable[[Item], None], queue_size: int, on_drop: Callable[[Item], None]
    ) -> None:
        self._process = process
        self._on_drop = on_drop
        self._queue: deque[Item] = deque()
        self._queue_size = queue_size
        self._changed = threading.Condition()
        self._busy = False
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def submit(self, item: Item) -> None:
        dropped = None
        with self._changed:
            if len(self._queue) >= self._queue_size:
                dropped = self._queue.popleft()
            self._queue.append(item)
            self._changed.notify()
        if dropped is not None:
            self._on_drop(dropped)

    def run_idle(self, action: Callable[[], None], timeout_s: float) -> bool:
        """Forget what waits, let the current item end, then run ``action`` while nothing is processed.

        :return: False when the current item did not end in time; then nothing was done to the stage.
        """
        with self._changed:
            self._queue.clear()
            if not self._changed.wait_for(lambda: not self._busy, timeout_s):
                return False
            action()
            return True

    def stop(self, timeout_s: float = 5.0) -> None:
        """Drop what waits and end the thread after the current item."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        if threading.current_thread() is not self._thread:
            self._thread.join(timeout_s)

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
            finally:
                with self._changed:
                    self._busy = False
                    self._changed.notify_all()
