"""Counters and latencies of one stage of the graph, for ``/diagnostics`` and the run's summary."""

import threading
import time
from collections import Counter, deque

import numpy as np

# Number of latencies kept for the percentiles: the last 10,000 frames are over 5 minutes at 30 Hz, in 160 kB.
WINDOW = 10_000
# After an error the status stays at ERROR for this long, so that a 1 Hz listener cannot miss it.
ERROR_MEMORY_S = 3.0
# After this time of silence a stage has no rate. It is longer than the pause between two episodes.
RATE_MEMORY_S = 5.0
MINUTE_S = 60.0
# Shortest time that counts as the beginning of a minute.
FIRST_RATE_S = 10.0


class Rate:
    """Events per second over the last 100; 0 after 5 s of silence. Not thread-safe."""

    def __init__(self) -> None:
        self._times: deque[float] = deque(maxlen=100)

    def count(self) -> None:
        self._times.append(time.monotonic())

    def per_second(self) -> float:
        times = self._times
        if len(times) < 2 or time.monotonic() - times[-1] >= RATE_MEMORY_S:
            return 0.0
        return round((len(times) - 1) / max(times[-1] - times[0], 1e-9), 2)


class PerMinute:
    """Events a minute over the last minute, or since the first call when that is less. Not thread-safe."""

    def __init__(self) -> None:
        self._events: deque[tuple[float, int]] = deque()
        self._began: float | None = None

    def count(self, events: int = 1) -> None:
        """:param events: number of events that happened now."""
        now = time.monotonic()
        self._began = now if self._began is None else self._began
        if events:
            self._events.append((now, events))

    def value(self) -> float:
        now = time.monotonic()
        while self._events and now - self._events[0][0] > MINUTE_S:
            self._events.popleft()
        if self._began is None:
            return 0.0
        # A single event in the first seconds says nothing about a minute.
        counted_s = min(max(now - self._began, FIRST_RATE_S), MINUTE_S)
        return round(sum(events for _, events in self._events) * MINUTE_S / counted_s, 1)


class StageStatistics:
    """Counts of the inputs, outputs and drops of a stage, and its durations. Thread-safe.

    Latency is the time from the frame's stamp to the publication of the result, by the node's clock. Processing is the
    stage's own share of it, by the monotonic clock.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._dropped: Counter[str] = Counter()
        self._errors: Counter[str] = Counter()
        self._latency: deque[float] = deque(maxlen=WINDOW)
        self._processing: deque[float] = deque(maxlen=WINDOW)
        self._outputs = Rate()
        self._last_error: tuple[float, str] | None = None

    def received(self) -> None:
        with self._lock:
            self._counts["received"] += 1

    def published(self, latency_s: float, processing_s: float) -> None:
        with self._lock:
            self._counts["published"] += 1
            self._latency.append(latency_s)
            self._processing.append(processing_s)
            self._outputs.count()

    def dropped(self, reason: str, count: int = 1) -> None:
        """Count inputs that will never lead to an output."""
        if count:
            with self._lock:
                self._dropped[reason] += count

    def error(self, kind: str, message: str) -> None:
        """Count an unusable input, which is a drop, and keep its message for the diagnostics.

        :param kind: few words without numbers: the key under which such errors are counted.
        """
        with self._lock:
            self._errors[kind] += 1
            self._dropped["bad input"] += 1
            self._last_error = (time.monotonic(), message)

    def recent_error(self) -> str | None:
        """The newest error's message while it is fresh."""
        with self._lock:
            if self._last_error and time.monotonic() - self._last_error[0] < ERROR_MEMORY_S:
                return self._last_error[1]
            return None

    def values(self) -> dict[str, float | int]:
        """All figures by name; latencies in milliseconds, rate in Hz over the last 100 outputs, 0 after 5 s of
        silence.
        """
        with self._lock:
            result: dict[str, float | int] = {
                "received": self._counts["received"],
                "published": self._counts["published"],
                "dropped": sum(self._dropped.values()),
            }
            result |= {f"dropped ({reason})": count for reason, count in sorted(self._dropped.items())}
            result |= {f"errors ({kind})": count for kind, count in sorted(self._errors.items())}
            result["rate_hz"] = self._outputs.per_second()
            for name, samples in (("latency", self._latency), ("processing", self._processing)):
                if samples:
                    p50, p99 = np.percentile(np.fromiter(samples, float), (50, 99)) * 1e3
                    result |= {f"{name}_p50_ms": round(float(p50), 3), f"{name}_p99_ms": round(float(p99), 3)}
            return result
