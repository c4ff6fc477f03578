"""Child processes end with the one that started them, however that ends."""

import ctypes
import os
import signal
import threading
from multiprocessing import parent_process

_libc = ctypes.CDLL(None)
_PR_SET_PDEATHSIG = 1


def end_with_parent() -> None:
    """What a pool's process begins with: it would wait for ever when the pool's owner is killed.

    By a thread and not by the kernel, whose signal comes already when the *thread* ends that started the process.
    """
    threading.Thread(target=_wait, daemon=True).start()


def _wait() -> None:
    parent_process().join()
    os._exit(1)


def killed_with_parent() -> None:
    """``preexec_fn`` of any program: the kernel kills it when the main thread that started it ends (Linux)."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
