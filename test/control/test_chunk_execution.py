"""When which action of which chunk leaves: the executions on an ideal clock, and what holds for any arrivals."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stvla_ros.control.actions import EndEffectorAction
from stvla_ros.control.chunk_execution import (
    COMMAND_COST,
    EXECUTIONS,
    SPACING,
    ChunkExecutor,
    Due,
    RateLimit,
    TimedChunk,
    adaptive_weights,
    exponential_weights,
)
from stvla_ros.errors import InputError

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


# --- executions ---


def test_receding_takes_one_action_of_each_chunk() -> None:
    executor = ChunkExecutor("receding", T)
    left = run(executor, [(n * T + 50 * MS, chunk(n * T, 10 * n)) for n in range(4)], 5 * T)
    assert [(now - 50 * MS, said(due)) for now, due in left] == [(0, 0), (T, 10), (2 * T, 20), (3 * T, 30)]


@pytest.mark.parametrize(
    ("execution", "expected"), [("receding", [0]), ("chunk", [0, 1, 2, 3]), ("ensemble", [0, 1, 2, 3])]
)
def test_what_is_planned_is_what_leaves_if_no_chunk_comes(execution: str, expected: list[int]) -> None:
    executor = ChunkExecutor(execution, T)
    assert executor.planned(0) == ()
    executor.add(chunk(0), 0)
    assert [float(each.translation[0]) for each in executor.planned(0)] == expected
    left = run(executor, [], 5 * T)
    assert [said(due) for _, due in left] == expected
    assert executor.planned(0) == ()


def test_chunk_takes_all_actions_a_period_apart_and_wants_no_inference_before_the_last_has_left() -> None:
    executor = ChunkExecutor("chunk", T)
    assert executor.wants_inference(0)
    executor.add(chunk(0), 50 * MS)
    for index in range(4):
        now = index * T + 50 * MS
        assert not executor.wants_inference(now - 10 * MS)
        assert executor.next_at(now) == now
        assert said(executor.take(now)) == index
    assert executor.next_at(4 * T) is None
    assert not executor.wants_inference(3 * T + 49 * MS), "a picture from before the last action does not show it"
    assert executor.wants_inference(4 * T)


def test_chunk_wants_inference_once_the_time_of_its_actions_is_over() -> None:
    executor = ChunkExecutor("chunk", T)
    executor.add(chunk(0), 50 * MS)
    executor.take(50 * MS)
    assert executor.wants_inference(4 * T)


def test_ensemble_weighs_the_last_four_chunks_by_the_published_weights() -> None:
    executor = ChunkExecutor("ensemble", T)
    chunks = [TimedChunk(n * T, tuple(action(100 * n + i) for i in range(4))) for n in range(6)]
    left = run(executor, [(c.stamp, c) for c in chunks], 5 * T)
    # At step 5 the chunks 2..5 say their actions 3, 2, 1, 0.
    values, weights = np.array([203, 302, 401, 500]), np.exp(0.8 * np.arange(4))
    assert said(left[5][1]) == pytest.approx(values @ weights / weights.sum())
    assert left[5][1].stamp == 5 * T
    # At step 1 there are two.
    assert said(left[1][1]) == pytest.approx(np.array([1, 100]) @ weights[:2] / weights[:2].sum())


def test_mean_ensemble_turns_the_gripper_when_half_of_the_chunks_want_it() -> None:
    executor = ChunkExecutor("mean_ensemble", T)
    wants = [0, 0, 0, 1, 0, 1, 1, 0, 0, 0]  # each chunk the same opening for all of its steps
    chunks = [TimedChunk(n * T, tuple(action(n, want) for _ in range(4))) for n, want in enumerate(wants)]
    left = run(executor, [(c.stamp, c) for c in chunks], 10 * T)
    assert [due.action.gripper for _, due in left] == [0, 0, 0, 0.25, 0.25, 0.5, 0.75, 0.5, 0.5, 0.25]
    assert said(left[9][1]) == pytest.approx(7.5)


def test_adaptive_ensemble_weighs_by_agreement_with_the_newest_chunk() -> None:
    executor = ChunkExecutor("adaptive_ensemble", T)
    executor.add(TimedChunk(0, (action(0), action(-1.0))), 0)
    executor.take(0)
    executor.add(TimedChunk(T, (action(1.0),)), T)
    weights = np.exp([-0.1, 0.1])
    assert said(executor.take(T)) == pytest.approx(np.array([-1.0, 1.0]) @ weights / weights.sum())


@pytest.mark.parametrize("execution", ["ensemble", "mean_ensemble", "adaptive_ensemble"])
def test_an_ensemble_of_single_actions_is_the_newest_action_itself(execution: str) -> None:
    left = run(ChunkExecutor(execution, T), [(n * T, chunk(n * T, n, count=1)) for n in range(4)], 4 * T)
    assert [said(due) for _, due in left] == [0, 1, 2, 3]


def test_ensemble_waits_a_quarter_period_for_a_late_chunk_and_is_then_back_in_time() -> None:
    executor = ChunkExecutor("ensemble", T)
    ready = [50, 50, 90, 50, 50]  # ms after the observation
    arrivals = [(n * T + late * MS, chunk(n * T, 10 * n, 1)) for n, late in enumerate(ready)]
    left = run(executor, arrivals, 5 * T)
    assert [said(due) for _, due in left] == [0, 10, 20, 30, 40]
    lateness = [(now - n * T) // MS for n, (now, _) in enumerate(left)]
    assert lateness == [50, 50, 90, 50, 50]


@pytest.mark.parametrize("execution", ["ensemble", "mean_ensemble", "adaptive_ensemble"])
def test_an_ensemble_goes_on_without_a_chunk_that_does_not_come(execution: str) -> None:
    left = run(ChunkExecutor(execution, T), [(50 * MS, chunk(0))], 10 * T)
    assert [said(due) for _, due in left] == [0, 1, 2, 3]
    assert [(now - 50 * MS) / T for now, _ in left] == [0, 1.25, 2.25, 3.25]


@pytest.mark.parametrize(("latency_ms", "first"), [(0, 0), (199, 0), (200, 1), (450, 2), (799, 3)])
@pytest.mark.parametrize("execution", EXECUTIONS)
def test_actions_that_are_past_when_the_inference_ends_are_skipped(execution: str, latency_ms: int, first: int) -> None:
    executor = ChunkExecutor(execution, T)
    late = chunk(0)
    now = latency_ms * MS
    assert executor.is_late(late, now) == (first > 0)
    assert executor.add(late, now)
    assert said(executor.take(now)) == first


@pytest.mark.parametrize("execution", EXECUTIONS)
def test_a_chunk_whose_steps_are_all_over_is_useless(execution: str) -> None:
    executor = ChunkExecutor(execution, T)
    assert not executor.add(chunk(0), 4 * T)
    assert executor.next_at(4 * T) is None


def test_in_an_ensemble_a_useless_chunk_does_not_end_what_still_runs() -> None:
    executor = ChunkExecutor("ensemble", T)
    executor.add(chunk(4 * T), 4 * T)
    executor.take(4 * T)
    assert not executor.add(chunk(0), 5 * T)
    assert said(executor.take(5 * T + T // 4)) == 1


@pytest.mark.parametrize("execution", EXECUTIONS)
def test_with_an_answer_to_each_observation_in_a_world_that_waits_each_gets_one_command(execution: str) -> None:
    executor = ChunkExecutor(execution, T)
    thoughts = 0
    for n in range(20):
        if executor.wants_inference(n * T):
            executor.add(chunk(n * T), n * T)
            thoughts += 1
        assert executor.take(n * T) is not None
        assert executor.take(n * T) is None
    assert thoughts == (5 if execution == "chunk" else 20)


@pytest.mark.parametrize("execution", EXECUTIONS)
def test_after_a_reset_nothing_leaves_but_the_rate_stays_limited(execution: str) -> None:
    executor = ChunkExecutor(execution, T)
    executor.add(chunk(0), 0)
    executor.take(0)
    executor.reset()
    assert executor.next_at(T) is None
    executor.add(chunk(50 * MS), 60 * MS)
    assert executor.next_at(60 * MS) == round(SPACING * COMMAND_COST * T)


@pytest.mark.parametrize("execution", EXECUTIONS)
def test_a_clock_that_is_set_back_does_not_stop_the_commands(execution: str) -> None:
    executor = ChunkExecutor(execution, T)
    executor.add(chunk(START), START)
    executor.take(START)
    executor.reset()
    assert executor.wants_inference(0)
    executor.add(chunk(0, 5), 0)
    assert said(executor.take(0)) == 5


def test_chunks_from_before_a_clock_was_set_back_take_no_part_in_the_mean() -> None:
    executor = ChunkExecutor("ensemble", T)
    executor.add(chunk(START, 100), START)
    executor.add(chunk(T, 0), T)
    assert said(executor.take(T)) == 0


def test_a_chunk_that_is_stale_by_now_takes_no_part_in_the_mean() -> None:
    executor = ChunkExecutor("ensemble", T, max_age=3 * T // 2)
    executor.add(chunk(0, 100), 0)
    executor.take(0)
    executor.add(chunk(T, 0), T)
    assert said(executor.take(8 * T // 5)) == 0


@pytest.mark.parametrize("early", [30 * MS, -30 * MS])
def test_chunks_are_matched_by_the_nearest_control_step_when_stamps_jitter(early: int) -> None:
    executor = ChunkExecutor("mean_ensemble", T)
    executor.add(chunk(0, 100), 0)
    executor.take(0)
    executor.add(chunk(T - early, 0), T - early)
    assert said(executor.take(T + 40 * MS)) == (101 + 0) / 2


def test_a_camera_clock_that_is_ahead_changes_nothing_but_the_skipping() -> None:
    executor = ChunkExecutor("chunk", T)
    executor.add(chunk(T // 2), 0)
    assert [said(due) for _, due in run(executor, [], 10 * T)] == [0, 1, 2, 3]


def test_an_unknown_strategy_is_refused_with_those_that_exist() -> None:
    with pytest.raises(InputError, match="^execution: expected one of receding, chunk, ensemble, mean_ensemble, "):
        ChunkExecutor("psychic", T)


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


@given(names, arrivals())
@settings(max_examples=200, deadline=None)
def test_commands_are_never_faster_than_the_control_steps(execution: str, found: list[tuple[int, TimedChunk]]) -> None:
    times = [now for now, _ in run(ChunkExecutor(execution, T), found, 200 * T)]
    step = COMMAND_COST * T
    assert all(later - earlier >= SPACING * step for earlier, later in itertools.pairwise(times))
    for begin, earlier in enumerate(times):
        for end in range(begin, len(times)):
            assert end - begin + 1 <= (times[end] - earlier) / step + 1.5 + 1e-6


@given(names, arrivals())
@settings(max_examples=200, deadline=None)
def test_no_action_leaves_from_a_stale_observation_or_after_its_step(
    execution: str, found: list[tuple[int, TimedChunk]]
) -> None:
    by_stamp = {c.stamp: c for _, c in found}
    for now, due in run(ChunkExecutor(execution, T, MAX_AGE), found, 200 * T):
        age = now - due.stamp
        assert 0 <= age <= MAX_AGE
        assert age // T < len(by_stamp[due.stamp].actions), "all its steps are over"
        if EXECUTIONS[execution].history == 1:
            assert any(due.action is a for a in by_stamp[due.stamp].actions[age // T :])


@given(names, arrivals())
@settings(max_examples=100, deadline=None)
def test_no_action_leaves_twice(execution: str, found: list[tuple[int, TimedChunk]]) -> None:
    left = run(ChunkExecutor(execution, T), found, 200 * T)
    steps = [(due.stamp, (now - due.stamp) // T) for now, due in left]
    assert len(set(steps)) == len(steps)
    assert [due.stamp for _, due in left] == sorted(due.stamp for _, due in left)


@given(names, arrivals())
@settings(max_examples=100, deadline=None)
def test_what_leaves_lies_within_what_the_chunks_say(execution: str, found: list[tuple[int, TimedChunk]]) -> None:
    for now, due in run(ChunkExecutor(execution, T, MAX_AGE), found, 200 * T):
        alone = EXECUTIONS[execution].history == 1
        kept = [c for at, c in found if at <= now and (c.stamp == due.stamp if alone else c.stamp <= due.stamp)]
        kept = [c for c in kept if now - c.stamp <= MAX_AGE]
        said_by = np.array([[*a.translation, a.gripper] for c in kept for a in c.actions])
        given_ = np.array([*due.action.translation, due.action.gripper])
        assert (given_ >= said_by.min(0) - 1e-12).all()
        assert (given_ <= said_by.max(0) + 1e-12).all()


@given(names, arrivals())
@settings(max_examples=50, deadline=None)
def test_the_same_arrivals_give_the_same_commands(execution: str, found: list[tuple[int, TimedChunk]]) -> None:
    first, second = (run(ChunkExecutor(execution, T), found, 200 * T) for _ in range(2))
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
    executor, left = ChunkExecutor("receding", T), []
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
