"""Progress bars that say, until they first move, why they wait."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_PERIOD_S = 1.0


@contextmanager
def told_until_first(bar: Any, what: str) -> Iterator[None]:
    """Tell why a bar waits: its first step may take a minute, in which it would stand still without a word.

    :param bar: bar of tqdm, before its first update.
    :param what: reason of the wait, such as ``starting the simulator``.
    """
    begun, begins_at, over = time.monotonic(), bar.n, threading.Event()
    live = bar.fp.isatty()

    def tell() -> None:
        said = what
        bar.set_postfix_str(said)
        while not over.wait(_PERIOD_S) and bar.n == begins_at:
            # A file would get every one of them.
            if live:
                said = f"{what}, {time.monotonic() - begun:.0f} s"
                bar.set_postfix_str(said)
        if bar.postfix == said:
            bar.set_postfix_str("")

    teller = threading.Thread(target=tell, name="bar", daemon=True)
    teller.start()
    try:
        yield
    finally:
        over.set()
        teller.join()
