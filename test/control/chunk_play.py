"""Chunks that say which they are, and an ideal clock for the executor, for the tests of the executions."""

import numpy as np

from stvla_ros.control.actions import EndEffectorAction
from stvla_ros.control.chunk_execution import (
    ChunkExecutor,
    Due,
    TimedChunk,
)

MS = 1_000_000
T = 200 * MS
START = 1_700_000_000_000_000_000


def action(value: float, gripper: float = 0.0) -> EndEffectorAction:
    return EndEffectorAction(np.array([value, 0.0, 0.0]), np.zeros(3), gripper)


def chunk(stamp: int, first: float = 0.0, count: int = 4) -> TimedChunk:
    """Actions that say which they are: first, first + 1, …"""
    return TimedChunk(stamp, tuple(action(first + i) for i in range(count)))


def said(due: Due | None) -> float | None:
    return None if due is None else float(due.action.translation[0])


def run(executor: ChunkExecutor, arrivals: list[tuple[int, TimedChunk]], until: int) -> list[tuple[int, Due]]:
    """Play arrivals (time, chunk) on a clock that rings exactly when the executor wants it to."""
    left, now, waiting = [], 0, sorted(arrivals, key=lambda arrival: arrival[0])
    while now <= until:
        at = executor.next_at(now)
        if waiting and (at is None or waiting[0][0] <= at):
            now, arrived = max(now, waiting[0][0]), waiting.pop(0)[1]
            executor.add(arrived, now)
            continue
        if at is None or at > until:
            break
        now = at
        due = executor.take(now)
        assert due is not None, "next_at promised an action"
        left.append((now, due))
    return left
