"""The thread that gives setpoints at the robot's rate."""

import threading
import time

from stvla_ros.nodes.kit.threads import Ticker

LONG = 10.0


def test_ticks_are_never_faster_than_the_period() -> None:
    ticks, enough = [], threading.Event()

    def tick() -> None:
        ticks.append(time.monotonic())
        if len(ticks) == 6:
            enough.set()

    began = time.monotonic()
    ticker = Ticker(0.02, tick, lambda error: None)
    assert enough.wait(LONG)
    ticker.stop()
    counted, ended = len(ticks), time.monotonic()
    assert ticks[0] - began >= 0.02 - 1e-3
    assert counted <= (ended - began) / 0.02 + 1
    time.sleep(0.05)
    assert len(ticks) == counted, "it ticks after its end"


def test_a_late_tick_does_not_make_the_next_ones_hurry() -> None:
    ticks, enough = [], threading.Event()

    def tick() -> None:
        ticks.append(time.monotonic())
        if len(ticks) == 1:
            time.sleep(0.3)
        if len(ticks) == 6:
            enough.set()

    ticker = Ticker(0.02, tick, lambda error: None)
    assert enough.wait(LONG)
    ticker.stop()
    # Those that were missed are not made up for: five periods later, at the earliest.
    assert ticks[5] - (ticks[0] + 0.3) >= 4 * 0.02 - 1e-3


def test_an_exception_is_reported_and_the_ticks_go_on() -> None:
    errors, ticks, enough = [], [], threading.Event()

    def tick() -> None:
        ticks.append(1)
        if len(ticks) == 1:
            raise ValueError("once")
        enough.set()

    ticker = Ticker(0.005, tick, errors.append)
    assert enough.wait(LONG)
    ticker.stop()
    assert [str(error) for error in errors] == ["once"]
