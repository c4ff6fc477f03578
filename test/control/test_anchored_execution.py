"""Anchored execution: commands lead to where the chunk meant to be, whatever was executed since its observation."""

from dataclasses import replace

import numpy as np
import pytest
from chunk_play import MS, T, action, chunk, said
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from stvla_ros.control.actions import EndEffectorAction
from stvla_ros.control.anchored_execution import LATEST_PHASE, AnchoredExecutor
from stvla_ros.control.caps import Caps
from stvla_ros.control.chunk_execution import Due, TimedChunk
from stvla_ros.control.displacement import Displacement, composed, mean
from stvla_ros.control.latency_prediction import CALLS_KEPT, WARM_UP_CALLS, LatencyPrediction

NOT_EXECUTED = Displacement.none()


def vectors(most: float) -> st.SearchStrategy[np.ndarray]:
    return st.lists(st.floats(-most, most), min_size=3, max_size=3).map(np.array)


actions = st.builds(EndEffectorAction, vectors(0.05), vectors(0.3), st.sampled_from([0.0, 1.0]))
closed = actions.map(lambda each: replace(each, gripper=0.0))
chunks_of = st.lists(actions, min_size=2, max_size=6).map(tuple)
# What became of a command: executed as sent, refused, or changed on its way.
fates = st.one_of(st.none(), st.just(NOT_EXECUTED), actions.map(Displacement.of))


def moved_by(target: np.ndarray, by: Displacement) -> np.ndarray:
    """(4, 4) target pose after a command, as a simulator moves it."""
    after = np.eye(4)
    after[:3, :3] = by.rotation.as_matrix() @ target[:3, :3]
    after[:3, 3] = target[:3, 3] + by.translation
    return after


def steps(executor: AnchoredExecutor, first: int, last: int) -> list[Due]:
    """The commands of lockstep's control steps from ``first`` to ``last``."""
    return [executor.take(step * T) for step in range(first, last + 1)]


# --- where commands lead ---


@given(chunks_of)
def test_commands_of_one_chunk_alone_are_its_actions(given_actions: tuple[EndEffectorAction, ...]) -> None:
    executor = AnchoredExecutor(T)
    executor.add(TimedChunk(0, given_actions), 0)
    for due, meant in zip(steps(executor, 0, len(given_actions) - 1), given_actions, strict=True):
        assert np.allclose(due.action.translation, meant.translation, atol=1e-12)
        assert np.allclose(due.action.rotation, meant.rotation, atol=1e-9)
        assert due.action.gripper == meant.gripper


@given(st.lists(st.tuples(closed, fates), max_size=6), st.lists(closed, min_size=2, max_size=6).map(tuple), st.data())
def test_any_mixture_of_executed_commands_leads_to_the_pose_that_the_chunk_means(
    before: list[tuple[EndEffectorAction, Displacement | None]],
    late: tuple[EndEffectorAction, ...],
    data: st.DataObject,
) -> None:
    """A chunk that answers observation 0 comes when commands of others were executed, changed and refused."""
    executor, target = AnchoredExecutor(T), np.eye(4)
    skipped = data.draw(st.integers(0, min(len(before), len(late) - 1)))
    for step, (done, fate) in enumerate(before[:skipped]):
        executor.add(TimedChunk(step * T - 1000, (done,)), step * T)
        due = executor.take(step * T)
        became = Displacement.of(due.action) if fate is None else fate
        if fate is not None:
            executor.correct(due.number, fate)
        target = moved_by(target, became)
    executor.add(TimedChunk(0, late), skipped * T)
    ends = moved_by(np.eye(4), composed(late[: skipped + 1]))
    due = executor.take(skipped * T)
    assert np.allclose(moved_by(target, Displacement.of(due.action)), ends, atol=1e-9)


@given(closed, closed)
def test_a_refused_command_leaves_the_target_where_it_was(first: EndEffectorAction, second: EndEffectorAction) -> None:
    executor = AnchoredExecutor(T)
    executor.add(TimedChunk(0, (first, second)), 0)
    executor.correct(executor.take(0).number, NOT_EXECUTED)
    both = composed([first, second])
    assert np.allclose(moved_by(np.eye(4), Displacement.of(executor.take(T).action)), moved_by(np.eye(4), both))


def test_what_a_limit_took_away_follows_with_the_next_command() -> None:
    executor = AnchoredExecutor(T)
    executor.add(chunk(0, first=1.0, count=3), 0)
    executor.correct(executor.take(0).number, Displacement.of(action(0.25)))
    assert said(executor.take(T)) == pytest.approx(2.0 + 0.75)
    assert said(executor.take(2 * T)) == pytest.approx(3.0)


def test_a_command_counts_from_when_it_was_executed() -> None:
    """It left before the observation and was executed after it: the picture does not show it."""
    executor = AnchoredExecutor(T)
    executor.add(TimedChunk(0, (action(1.0),)), 0)
    executor.correct(executor.take(0).number, Displacement.of(action(1.0)), at=T + MS)
    executor.add(TimedChunk(T, (action(5.0),)), T)
    assert said(executor.take(T)) == pytest.approx(4.0)


@given(st.lists(chunks_of, min_size=1, max_size=4), st.floats(0.001, 0.1), st.floats(0.01, 0.5))
def test_no_command_moves_more_than_the_caps(
    said_by: list[tuple[EndEffectorAction, ...]], translation: float, rotation: float
) -> None:
    executor = AnchoredExecutor(T, caps=Caps(translation, rotation))
    for number, each in enumerate(said_by):
        executor.add(TimedChunk(number * T, each), number * T)
        command = executor.take(number * T).action
        assert np.linalg.norm(command.translation) <= translation + 1e-12
        assert np.linalg.norm(command.rotation) <= rotation + 1e-9


def test_a_way_longer_than_the_cap_is_gone_in_several_commands() -> None:
    executor = AnchoredExecutor(T, caps=Caps(translation=1.0))
    executor.add(TimedChunk(0, (action(2.5), action(0.0), action(0.0))), 0)
    assert [said(due) for due in steps(executor, 0, 2)] == pytest.approx([1.0, 1.0, 0.5])


# --- which chunk, which opening ---


def test_motion_comes_from_the_newest_chunk_or_from_the_mean_of_all() -> None:
    for averages, expected in ((False, 10.0), (True, 6.0)):
        executor = AnchoredExecutor(T, averages=averages)
        executor.add(chunk(0, first=1.0, count=2), 0)  # 1, then 2
        executor.take(0)
        executor.add(TimedChunk(T, (action(10.0),)), T)
        assert said(executor.take(T)) == pytest.approx(expected)


def test_one_chunk_of_three_does_not_turn_the_gripper_nor_move_the_arm() -> None:
    executor = AnchoredExecutor(T)
    for step in range(2):
        executor.add(TimedChunk(step * T, (action(1.0), action(1.0))), step * T)
        executor.take(step * T)
    executor.add(TimedChunk(2 * T, (action(7.0, gripper=1.0),) * 4), 2 * T)
    due = executor.take(2 * T)
    assert due.action.gripper < 0.5
    assert said(due) == pytest.approx(1.0), "what the chunks mean that keep it closed"
    executor.add(TimedChunk(3 * T, (action(7.0, gripper=1.0),) * 4), 3 * T)
    executor.add(TimedChunk(3 * T + 1, (action(7.0, gripper=1.0),) * 4), 3 * T)
    due = executor.take(3 * T)
    assert due.action.gripper > 0.5
    assert said(due) == pytest.approx(7.0)


@pytest.mark.parametrize("opening", [0.0, 1.0])
def test_of_two_chunks_neither_turns_the_gripper_alone(opening: float) -> None:
    executor = AnchoredExecutor(T)
    executor.add(TimedChunk(0, (action(1.0, gripper=opening), action(1.0, gripper=opening))), 0)
    executor.take(0)
    executor.add(TimedChunk(T, (action(7.0, gripper=1.0 - opening),)), T)
    due = executor.take(T)
    assert (due.action.gripper, said(due)) == (opening, pytest.approx(1.0))


# --- when commands leave ---


def play(latencies: list[int], length: int = 6, jitter: list[int] | None = None) -> list[int]:
    """Times at which commands leave, each observation a period after the one before it, answers as late as given."""
    latency = LatencyPrediction()
    executor, left = AnchoredExecutor(T, latency=latency), []
    jitter = jitter or [0] * len(latencies)
    arrivals = [(n * T + late, n * T + off) for n, (late, off) in enumerate(zip(latencies, jitter, strict=True))]
    now, ends = 0, len(latencies) * T
    while now < ends:
        at = executor.next_at(now)
        if arrivals and (at is None or arrivals[0][0] <= at):
            now, stamp = arrivals.pop(0)
            latency.add(now - stamp)
            executor.add(TimedChunk(stamp, tuple(action(0.0) for _ in range(length))), now)
        elif at is None:
            break
        else:
            now = at
            left.append(now)
            assert executor.take(now) is not None
    return left


@examples(quick=100)
@given(
    st.integers(0, 3 * T),
    st.lists(st.tuples(st.integers(0, T), st.integers(0, T // 20)), min_size=20, max_size=60),
)
def test_each_control_step_gets_one_command_however_the_answers_jitter(
    least: int, drawn: list[tuple[int, int]]
) -> None:
    latencies, last = [], 0
    for late, _ in drawn:
        last = max(least + late, last - T)  # one answer after the other
        latencies.append(last)
    left = play(latencies, jitter=[off for _, off in drawn])
    step_of = [now // T for now in left]
    assert step_of == list(range(step_of[0], step_of[0] + len(left)))


def test_commands_settle_where_all_but_a_few_answers_are_there() -> None:
    late = [60 * MS + (n % 10) * MS for n in range(60)]
    phases = {now % T for now in play(late)[-10:]}
    assert all(67 * MS <= phase <= 70 * MS for phase in phases)


def test_no_command_leaves_on_the_border_of_two_steps() -> None:
    left = play([199 * MS + n % 3 * MS for n in range(40)])
    assert all(0.05 * T <= now % T <= LATEST_PHASE * T for now in left[2:])


def test_a_slow_answer_moves_no_later_command() -> None:
    usual = play([60 * MS] * 40)
    slow = [60 * MS] * 40
    slow[30] = 190 * MS
    assert play(slow)[:30] == usual[:30]
    assert np.allclose(np.diff(play(slow)), T, atol=T // 20)


def test_nothing_leaves_when_the_actions_are_used_up() -> None:
    executor = AnchoredExecutor(T)
    executor.add(chunk(0, count=2), 0)
    steps(executor, 0, 1)
    assert executor.next_at(2 * T) is None
    assert executor.take(2 * T) is None


def test_a_chunk_that_is_stale_by_now_has_no_say_either() -> None:
    executor = AnchoredExecutor(T, max_age=3 * T // 2)
    executor.add(TimedChunk(0, 4 * (action(0.0, 0.0),)), 0)
    assert executor.take(0).action.gripper == 0.0
    executor.add(TimedChunk(T, 4 * (action(0.0, 1.0),)), T)
    assert executor.take(2 * T).action.gripper == 1.0, "one of two would not turn it"


def test_nothing_leaves_from_a_stale_observation() -> None:
    executor = AnchoredExecutor(T, max_age=3 * T)
    executor.add(chunk(0, count=9), 0)
    assert executor.take(3 * T) is not None
    assert executor.next_at(4 * T) is None


def test_what_is_planned_is_what_leaves_if_no_chunk_comes() -> None:
    executor = AnchoredExecutor(T)
    executor.add(TimedChunk(-T, (action(4.0), action(1.0))), 0)
    executor.take(0)
    executor.add(chunk(0, first=1.0, count=4), T)
    planned = [float(each.translation[0]) for each in executor.planned(T)]
    assert planned == pytest.approx([said(due) for due in steps(executor, 1, 3)])
    assert executor.planned(4 * T) == ()


# --- latency ---


def test_the_predicted_latency_is_what_95_of_100_answers_do_not_exceed() -> None:
    latency = LatencyPrediction()
    for _ in range(WARM_UP_CALLS):
        latency.add(10**10)
    assert latency.predicted is None, "warm-up calls do not count"
    for milliseconds in range(1, 101):
        latency.add(milliseconds * MS)
    assert latency.predicted == pytest.approx(95 * MS, rel=0.01)
    for _ in range(CALLS_KEPT):
        latency.add(MS)
    assert latency.predicted == MS, "of the last 100 alone"


# --- geometry ---


@given(actions, actions)
def test_what_is_left_leads_to_the_same_pose(whole: EndEffectorAction, done: EndEffectorAction) -> None:
    intended, executed = Displacement.of(whole), Displacement.of(done)
    again = executed.then(intended.left_after(executed))
    assert np.allclose(again.translation, intended.translation)
    assert (again.rotation * intended.rotation.inv()).magnitude() == pytest.approx(0.0, abs=1e-9)


@given(actions)
def test_a_mean_of_the_same_displacement_is_itself(one: EndEffectorAction) -> None:
    found = mean([Displacement.of(one)] * 3)
    assert np.allclose(found.translation, one.translation)
    assert (found.rotation * Rotation.from_rotvec(one.rotation).inv()).magnitude() == pytest.approx(0.0, abs=1e-6)


@given(vectors(1.0), vectors(1.0), vectors(0.3))
def test_the_displacement_between_two_poses_leads_from_one_to_the_other(
    start: np.ndarray, turned: np.ndarray, way: np.ndarray
) -> None:
    earlier, later = np.eye(4), np.eye(4)
    earlier[:3, 3], later[:3, 3] = start, start + way
    earlier[:3, :3] = Rotation.from_rotvec(turned).as_matrix()
    later[:3, :3] = Rotation.from_rotvec(way).as_matrix() @ earlier[:3, :3]
    assert np.allclose(moved_by(earlier, Displacement.between(earlier, later)), later)
