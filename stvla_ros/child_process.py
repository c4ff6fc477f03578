"""Child processes that end with their parent, however the parent ends."""

import ctypes
import os
import signal
import threading
from multiprocessing import parent_process

_libc = ctypes.CDLL(None)
_PR_SET_PDEATHSIG = 1


def end_with_parent() -> None:
    """The first call in a process of a pool: otherwise it would wait for ever after the pool's owner was killed.

    A thread watches the parent. The kernel's signal would not do: it already comes when the *thread* ends that started
    the process.
    """
    threading.Thread(target=_wait, daemon=True).start()


def _wait() -> None:
    parent_process().join()
    os._exit(1)


def killed_with_parent() -> None:
    """``preexec_fn`` of any program: the kernel kills it when the main thread that started it ends (Linux)."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
