"""The figures of a stage."""

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stvla_ros.nodes.kit import stage_statistics
from stvla_ros.nodes.kit.stage_statistics import PerMinute, StageStatistics


def test_counts_and_drops_are_told_by_reason() -> None:
    stage = StageStatistics()
    for _ in range(5):
        stage.received()
    stage.published(0.01, 0.002)
    stage.dropped("queue full", 2)
    stage.dropped("queue full")
    stage.dropped("nothing", 0)
    stage.error("image", "topic image: bad")
    values = stage.values()
    assert (values["received"], values["published"], values["dropped"]) == (5, 1, 4)
    assert values["dropped (queue full)"] == 3
    assert values["dropped (bad input)"] == 1
    assert values["errors (image)"] == 1
    assert "dropped (nothing)" not in values


@given(st.lists(st.floats(0.0, 10.0), min_size=1, max_size=200))
def test_percentiles_lie_within_the_samples_and_are_ordered(latencies: list[float]) -> None:
    stage = StageStatistics()
    for latency in latencies:
        stage.published(latency, latency / 2)
    values = stage.values()
    assert (
        min(latencies) * 1e3 - 1e-3
        <= values["latency_p50_ms"]
        <= values["latency_p99_ms"]
        <= max(latencies) * 1e3 + 1e-3
    )
    assert values["processing_p99_ms"] == pytest.approx(values["latency_p99_ms"] / 2, abs=2e-3)


def test_percentiles_forget_what_is_older_than_the_window() -> None:
    stage = StageStatistics()
    for _ in range(stage_statistics.WINDOW // 10):
        stage.published(1.0, 1.0)
    for _ in range(stage_statistics.WINDOW):
        stage.published(0.001, 0.001)
    assert stage.values()["latency_p99_ms"] == 1.0


def test_rate_is_that_of_the_outputs_and_zero_after_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(stage_statistics.time, "monotonic", lambda: now[0])
    stage = StageStatistics()
    assert stage.values()["rate_hz"] == 0.0
    for _ in range(31):
        stage.published(0.0, 0.0)
        now[0] += 0.1
    assert stage.values()["rate_hz"] == 10.0
    now[0] += stage_statistics.RATE_MEMORY_S
    assert stage.values()["rate_hz"] == 0.0


def test_events_a_minute_are_those_of_the_last_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(stage_statistics.time, "monotonic", lambda: now[0])
    counted = PerMinute()
    assert counted.value() == 0.0
    counted.count(0)
    counted.count(2)
    assert counted.value() == 12.0, "the first seconds count as ten"
    now[0] += 30.0
    counted.count()
    assert counted.value() == 6.0
    now[0] += 31.0
    assert counted.value() == 1.0, "the first two are longer ago than a minute"
    now[0] += 60.0
    assert counted.value() == 0.0


def test_an_error_is_told_until_it_is_old(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(stage_statistics.time, "monotonic", lambda: now[0])
    stage = StageStatistics()
    assert stage.recent_error() is None
    stage.error("image", "topic image: first")
    stage.error("depth", "topic depth: second")
    assert stage.recent_error() == "topic depth: second"
    now[0] += stage_statistics.ERROR_MEMORY_S
    assert stage.recent_error() is None


def test_no_count_is_lost_between_threads() -> None:
    stage = StageStatistics()

    def count() -> None:
        for _ in range(2000):
            stage.received()
            stage.dropped("x")

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert stage.values()["received"] == stage.values()["dropped"] == 8000
