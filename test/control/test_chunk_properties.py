"""What holds of the executions for any arrivals of chunks, and of their weights and rates."""

import itertools
import math

import numpy as np
import pytest
from chunk_play import MS, START, T, action, chunk, run, said
from examples import examples
from hypothesis import given
from hypothesis import strategies as st

from stvla_ros.control.chunk_execution import (
    COMMAND_COST,
    EXECUTIONS,
    SPACING,
    RateLimit,
    TimedChunk,
    adaptive_weights,
    exponential_weights,
)
from stvla_ros.control.executors import make_executor

# --- what holds for any arrivals ---


@st.composite
def arrivals(draw: st.DrawFn) -> list[tuple[int, TimedChunk]]:
    """Chunks of increasing stamps at any intervals, each ready some time after its stamp, in order."""
    found, stamp, free = [], 0, 0
    for _ in range(draw(st.integers(1, 25))):
        stamp += draw(st.integers(1, 3 * T))
        free = max(free, stamp + draw(st.integers(0, 6 * T)))
        values = draw(st.lists(st.floats(-0.1, 0.1), min_size=1, max_size=5))
        actions = tuple(action(value, draw(st.sampled_from((0.0, 1.0)))) for value in values)
        found.append((free, TimedChunk(stamp, actions)))
    return found


MAX_AGE = 5 * T // 2
names = st.sampled_from(sorted(EXECUTIONS))
# Their actions leave as the chunk says them, or in a mean.
as_said = st.sampled_from(sorted(name for name, each in EXECUTIONS.items() if not each.anchored))


@given(names, arrivals())
@examples(quick=200)
def test_commands_are_never_faster_than_the_control_steps(execution: str, found: list[tuple[int, TimedChunk]]) -> None:
    times = [now for now, _ in run(make_executor(execution, T), found, 200 * T)]
    step = COMMAND_COST * T
    assert all(later - earlier >= SPACING * step for earlier, later in itertools.pairwise(times))
    for begin, earlier in enumerate(times):
        for end in range(begin, len(times)):
            assert end - begin + 1 <= (times[end] - earlier) / step + 1.5 + 1e-6


@given(names, arrivals())
@examples(quick=200)
def test_no_action_leaves_from_a_stale_observation_or_after_its_step(
    execution: str, found: list[tuple[int, TimedChunk]]
) -> None:
    by_stamp = {c.stamp: c for _, c in found}
    for now, due in run(make_executor(execution, T, MAX_AGE), found, 200 * T):
        age = now - due.stamp
        assert 0 <= age <= MAX_AGE
        # Anchored, steps are counted from one observation on; another one may lie half a step beside them.
        beside = T if EXECUTIONS[execution].anchored else 0
        assert (age - beside) // T < len(by_stamp[due.stamp].actions), "all its steps are over"
        if EXECUTIONS[execution].history == 1:
            assert any(due.action is a for a in by_stamp[due.stamp].actions[age // T :])


@given(as_said, arrivals())
@examples(quick=100)
def test_no_action_leaves_twice(execution: str, found: list[tuple[int, TimedChunk]]) -> None:
    left = run(make_executor(execution, T), found, 200 * T)
    steps = [(due.stamp, (now - due.stamp) // T) for now, due in left]
    assert len(set(steps)) == len(steps)
    assert [due.stamp for _, due in left] == sorted(due.stamp for _, due in left)


@given(as_said, arrivals())
@examples(quick=100)
def test_what_leaves_lies_within_what_the_chunks_say(execution: str, found: list[tuple[int, TimedChunk]]) -> None:
    for now, due in run(make_executor(execution, T, MAX_AGE), found, 200 * T):
        alone = EXECUTIONS[execution].history == 1
        kept = [c for at, c in found if at <= now and (c.stamp == due.stamp if alone else c.stamp <= due.stamp)]
        kept = [c for c in kept if now - c.stamp <= MAX_AGE]
        said_by = np.array([[*a.translation, a.gripper] for c in kept for a in c.actions])
        given_ = np.array([*due.action.translation, due.action.gripper])
        assert (given_ >= said_by.min(0) - 1e-12).all()
        assert (given_ <= said_by.max(0) + 1e-12).all()


@given(names, arrivals())
@examples(quick=50)
def test_the_same_arrivals_give_the_same_commands(execution: str, found: list[tuple[int, TimedChunk]]) -> None:
    first, second = (run(make_executor(execution, T), found, 200 * T) for _ in range(2))
    assert [(now, due.stamp, said(due), due.action.gripper) for now, due in first] == [
        (now, due.stamp, said(due), due.action.gripper) for now, due in second
    ]


predictions = st.lists(st.lists(st.floats(-1.0, 1.0), min_size=7, max_size=7), min_size=1, max_size=4).map(np.array)


@given(predictions)
def test_weights_are_positive_and_sum_to_one(found: np.ndarray) -> None:
    for weigh in (exponential_weights, adaptive_weights):
        weights = weigh(found)
        assert weights.shape == (len(found),)
        assert (weights > 0).all()
        assert math.isclose(weights.sum(), 1.0)


@given(predictions)
def test_exponential_weights_grow_by_the_same_factor_towards_the_newest(found: np.ndarray) -> None:
    weights = exponential_weights(found)
    assert np.allclose(weights[1:] / weights[:-1], math.exp(0.8))


@given(predictions)
def test_adaptive_weights_favour_agreement_with_the_newest(found: np.ndarray) -> None:
    weights = adaptive_weights(found)
    assert weights[-1] == pytest.approx(weights.max())
    opposite = adaptive_weights(np.vstack([-found[-1], found]))
    assert opposite[0] == pytest.approx(opposite.min())


@given(st.lists(st.integers(0, 3 * T), min_size=1, max_size=60))
def test_the_rate_limit_holds_for_any_times_at_which_it_is_asked(gaps: list[int]) -> None:
    limit, now, times = RateLimit(T), START, []
    for gap in gaps:
        now += gap
        if limit.earliest(now) == now:
            limit.count(now)
            times.append(now)
    assert times[0] == START + gaps[0]
    for begin, earlier in enumerate(times):
        for end in range(begin, len(times)):
            assert end - begin + 1 <= (times[end] - earlier) / T + 1.5 + 1e-6


def test_one_late_command_delays_no_later_one() -> None:
    executor, left = make_executor("receding", T), []
    for n, latency in enumerate((130, 130, 195, 130, 130, 195, 190, 130, 130)):
        executor.add(chunk(n * T), ready := n * T + latency * MS)
        left.append(executor.next_at(ready) - ready)
        assert executor.take(ready + left[-1]) is not None
    assert left == [0] * len(left)


@given(st.integers(1, 60))
def test_the_rate_limit_lets_a_camera_at_the_control_rate_through_despite_jitter(seed: int) -> None:
    jitter = np.random.default_rng(seed).integers(0, T // 4, 100)
    limit = RateLimit(T)
    for n, late in enumerate(jitter.tolist()):
        now = START + n * T + late
        assert limit.earliest(now) == now
        limit.count(now)
