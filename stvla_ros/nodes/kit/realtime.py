"""Gives a thread priority over all others of the machine, while it must keep an even beat (Linux, SCHED_FIFO)."""

import os
import resource
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from stvla_ros.errors import InputError

# The kernel's own threads for interrupts have 50.
HIGHEST_PRIORITY = 49


@contextmanager
def realtime(priority: int) -> Iterator[None]:
    """Applies to the calling thread alone: threads that it starts have the usual priority.

    :param priority: priority of the thread, 1 to ``HIGHEST_PRIORITY``; 0 changes nothing.
    :raises OSError: when the machine does not allow it.
    """
    if not priority:
        yield
        return
    os.sched_setscheduler(0, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(priority))
    try:
        yield
    finally:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


def check_realtime(name: str, priority: int) -> None:
    """
    :param name: name of the parameter that asks for it.
    :raises InputError: when the machine does not allow it.
    """
    refused: list[OSError] = []

    def try_it() -> None:
        try:
            with realtime(priority):
                pass
        except OSError as error:
            refused.append(error)

    thread = threading.Thread(target=try_it)
    thread.start()
    thread.join()
    if refused:
        allowed, _ = resource.getrlimit(resource.RLIMIT_RTPRIO)
        raise InputError(
            f"parameter {name}: {priority} is not allowed to this user ({refused[0].strerror}; `ulimit -r` says "
            f"{allowed}); docs/how-to/run-a-robot.md says how to allow it"
        )
