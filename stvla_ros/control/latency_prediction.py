"""Predicts the latency of an answer from those of the last ones. Pure."""

from collections import deque

import numpy as np

CALLS_KEPT = 100
PERCENTILE = 95
# The first calls compile, fill caches and allocate memory; no later one takes as long.
WARM_UP_CALLS = 3


class LatencyPrediction:
    """The time from an observation's stamp to its answer. Not thread-safe."""

    def __init__(self) -> None:
        self._calls = 0
        self._latencies: deque[int] = deque(maxlen=CALLS_KEPT)

    def add(self, latency: int) -> None:
        """:param latency: measured latency of one call, ns."""
        self._calls += 1
        if self._calls > WARM_UP_CALLS:
            self._latencies.append(max(latency, 0))

    @property
    def predicted(self) -> int | None:
        """The latency that 95 of 100 answers do not exceed, ns; None until one counts."""
        return round(float(np.percentile(list(self._latencies), PERCENTILE))) if self._latencies else None
