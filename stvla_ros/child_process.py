"""What every child process of a pool begins with."""

import os
import threading
from multiprocessing import parent_process


def end_with_parent() -> None:
    """End this process when the one that started it does, also when that is killed: a pool's processes would wait for
    ever."""
    threading.Thread(target=_wait, daemon=True).start()


def _wait() -> None:
    parent_process().join()
    os._exit(1)
