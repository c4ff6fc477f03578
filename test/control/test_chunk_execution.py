"""When which action of which chunk leaves: the executions on an ideal clock."""

import numpy as np
import pytest
from chunk_play import MS, START, T, action, chunk, run, said

from stvla_ros.control.actions import EndEffectorAction
from stvla_ros.control.chunk_execution import (
    COMMAND_COST,
    EXECUTIONS,
    SPACING,
    ChunkExecutor,
    TimedChunk,
    late_by,
)
from stvla_ros.control.executors import make_executor
from stvla_ros.errors import InputError

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


@pytest.mark.parametrize("chunks", [1, 2, 3, 7])
@pytest.mark.parametrize("execution", ["mean_ensemble", "anchored_mean"])
def test_as_many_chunks_have_a_say_as_one_asks_for(execution: str, chunks: int) -> None:
    """Chunk n says n, and nothing that was said before moved the arm."""
    executor = make_executor(execution, T, chunks=chunks)
    for number in range(9):
        executor.add(
            TimedChunk(number * T, 10 * (EndEffectorAction(np.zeros(3), np.zeros(3), number / 10),)), number * T
        )
        due = executor.take(number * T)
    assert due is not None
    assert due.action.gripper == pytest.approx(np.mean(np.arange(9)[-chunks:]) / 10)


@pytest.mark.parametrize("chunks", [0, 33, 2.0, True])
@pytest.mark.parametrize("execution", ["adaptive_ensemble", "anchored"])
def test_a_number_of_chunks_that_is_none_is_refused(execution: str, chunks: object) -> None:
    with pytest.raises(InputError, match="ensembled_chunks: expected 1 to 32"):
        make_executor(execution, T, chunks=chunks)


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
    assert (late_by(late, now, T) > 0) == (first > 0)
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
