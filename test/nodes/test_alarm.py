"""The thread that calls back when something is due."""

import threading
import time
from collections.abc import Iterator

import pytest

from stvla_ros.nodes.kit.threads import Alarm


class Bell:
    """Rings at the given waits, one after another, and keeps when."""

    def __init__(self) -> None:
        self.waits: list[float | Exception | None] = []
        self.rung: list[float] = []
        self.errors: list[Exception] = []
        self.quiet = threading.Event()
        self.alarm = Alarm("bell", self._ring, self.errors.append)

    def _ring(self) -> float | None:
        self.rung.append(time.monotonic())
        wait = self.waits.pop(0) if self.waits else None
        if not self.waits:
            self.quiet.set()
        if isinstance(wait, Exception):
            raise wait
        return wait


@pytest.fixture
def bell() -> Iterator[Bell]:
    bell = Bell()
    yield bell
    bell.alarm.stop()
    bell.alarm.stop()


def test_it_sleeps_until_it_is_woken(bell: Bell) -> None:
    time.sleep(0.1)
    assert not bell.rung
    bell.alarm.wake()
    assert bell.quiet.wait(60.0)
    time.sleep(0.1)
    assert len(bell.rung) == 1


def test_it_rings_when_due_and_asks_again_during_long_waits(bell: Bell) -> None:
    bell.waits = [0.01, 1000.0, None]
    bell.alarm.wake()
    assert bell.quiet.wait(60.0)
    assert len(bell.rung) == 3
    assert bell.rung[1] - bell.rung[0] >= 0.01


def test_an_error_is_told_and_the_next_wake_rings_again(bell: Bell) -> None:
    bell.waits = [RuntimeError("broken")]
    bell.alarm.wake()
    assert bell.quiet.wait(60.0)
    bell.quiet.clear()
    bell.alarm.wake()
    assert bell.quiet.wait(60.0)
    assert [str(error) for error in bell.errors] == ["broken"]
    assert len(bell.rung) == 2


def test_after_the_stop_nothing_rings(bell: Bell) -> None:
    bell.alarm.stop()
    bell.alarm.wake()
    time.sleep(0.1)
    assert not bell.rung
