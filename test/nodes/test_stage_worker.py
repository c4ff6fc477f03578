"""The worker thread of a stage."""

import threading
import time
from collections import Counter
from collections.abc import Iterator

import pytest

from stvla_ros.nodes.kit.threads import FORGOTTEN, FULL, Worker

LONG = 60.0


class Stage:
    """Records what a worker does; each item waits for the gate."""

    def __init__(self, queue_size: int) -> None:
        self.gate = threading.Event()
        self.started = threading.Semaphore(0)
        self.done: list[int] = []
        self.drops: Counter[str] = Counter()
        self.errors: list[Exception] = []
        self.worker: Worker[int] = Worker("stage", self._process, queue_size, self._dropped, self.errors.append)

    def _process(self, item: int) -> None:
        self.started.release()
        assert self.gate.wait(LONG)
        if item < 0:
            raise ValueError(item)
        self.done.append(item)

    def _dropped(self, reason: str, count: int) -> None:
        self.drops[reason] += count

    def until_idle(self) -> None:
        ends = time.monotonic() + LONG
        while not self.worker.is_idle():
            assert time.monotonic() < ends
            time.sleep(0.001)


@pytest.fixture
def stage() -> Iterator[Stage]:
    stage = Stage(3)
    yield stage
    stage.gate.set()
    stage.worker.stop()


def test_items_are_processed_in_order(stage: Stage) -> None:
    stage.gate.set()
    for item in range(3):
        stage.worker.submit(item)
    stage.until_idle()
    assert stage.done == [0, 1, 2]
    assert not stage.drops


def test_a_full_queue_drops_its_oldest_and_counts_it(stage: Stage) -> None:
    stage.worker.submit(0)
    assert stage.started.acquire(timeout=LONG)
    for item in range(1, 6):
        stage.worker.submit(item)
    stage.gate.set()
    stage.until_idle()
    assert stage.done == [0, 3, 4, 5]
    assert stage.drops == {FULL: 2}


def test_an_exception_is_reported_and_the_next_item_follows(stage: Stage) -> None:
    stage.gate.set()
    stage.worker.submit(-1)
    stage.worker.submit(1)
    stage.until_idle()
    assert stage.done == [1]
    assert [type(error) for error in stage.errors] == [ValueError]


def test_run_idle_forgets_what_waits_and_runs_between_items(stage: Stage) -> None:
    stage.worker.submit(0)
    assert stage.started.acquire(timeout=LONG)
    stage.worker.submit(1)
    threading.Timer(0.05, stage.gate.set).start()
    seen: list[list[int]] = []
    assert stage.worker.run_idle(lambda: seen.append(list(stage.done)), LONG)
    assert seen == [[0]]
    stage.until_idle()
    assert stage.done == [0]
    assert stage.drops == {FORGOTTEN: 1}


def test_run_idle_gives_up_without_acting_while_an_item_takes_too_long(stage: Stage) -> None:
    stage.worker.submit(0)
    assert stage.started.acquire(timeout=LONG)
    acted: list[int] = []
    assert not stage.worker.run_idle(lambda: acted.append(1), 0.05)
    assert not acted


def test_a_waiting_run_idle_does_not_swallow_the_wake_up_for_a_new_item(stage: Stage) -> None:
    stage.worker.submit(0)
    assert stage.started.acquire(timeout=LONG)
    waiters = [threading.Thread(target=stage.worker.run_idle, args=(lambda: None, LONG)) for _ in range(4)]
    for waiter in waiters:
        waiter.start()
    stage.gate.set()
    for waiter in waiters:
        waiter.join(LONG)
    for item in range(1, 50):
        stage.worker.submit(item)
        stage.until_idle()
    assert stage.done == list(range(50))


def test_stop_drops_what_waits_counts_it_and_ends_the_thread(stage: Stage) -> None:
    stage.worker.submit(0)
    assert stage.started.acquire(timeout=LONG)
    stage.worker.submit(1)
    stage.worker.submit(2)
    stopping = threading.Thread(target=stage.worker.stop, args=(LONG,))
    stopping.start()
    ends = time.monotonic() + LONG
    while not stage.drops:
        assert time.monotonic() < ends
        time.sleep(0.001)
    assert stage.drops == {FORGOTTEN: 2} and stopping.is_alive(), "it waits for the item that is being processed"
    stage.gate.set()
    stopping.join(LONG)
    assert not stopping.is_alive()
    stage.worker.submit(3)
    stage.worker.stop()
    assert stage.done == [0]
    assert stage.drops == {FORGOTTEN: 3}
    assert not [thread for thread in threading.enumerate() if thread.name == "stage"]
