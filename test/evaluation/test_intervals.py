"""Wilson's interval, the effective number of episodes, the mean over tasks, and the paired test."""

import itertools

import numpy as np
import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from stvla_ros.evaluation.intervals import (
    SuccessRate,
    effective_episodes,
    holm,
    mean_interval,
    mean_rate,
    paired_p_value,
    rate,
    sign_flip_p_value,
    wilson,
)

OUTCOMES = st.lists(st.booleans().map(float), min_size=1, max_size=6)
GROUPS = st.lists(OUTCOMES, min_size=1, max_size=12)


@given(st.integers(1, 300).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_is_that_of_scipy(counts: tuple[int, int]) -> None:
    successes, n = counts
    expected = binomtest(successes, n).proportion_ci(0.95, method="wilson")
    assert wilson(successes, n) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_nothing_is_known_without_episodes() -> None:
    assert wilson(0, 0) == (0.0, 1.0)


@given(GROUPS)
def test_repeated_episodes_are_worth_between_one_each_and_one_a_placement(groups: list[list[float]]) -> None:
    effective = effective_episodes(groups)
    assert len(groups) - 1e-9 <= effective <= sum(map(len, groups)) + 1e-9


def test_one_episode_a_placement_counts_in_full() -> None:
    assert effective_episodes([[1.0], [0.0], [1.0]]) == 3.0


def test_seeds_that_change_nothing_do_not_narrow_the_interval() -> None:
    once = rate([[1.0], [0.0], [0.0], [1.0]])
    thrice = rate([[1.0] * 3, [0.0] * 3, [0.0] * 3, [1.0] * 3])
    assert (thrice.value, thrice.low, thrice.high) == pytest.approx((once.value, once.low, once.high))
    assert thrice.n == 12


def test_seeds_that_are_as_good_as_new_placements_narrow_the_interval() -> None:
    generator = np.random.default_rng(0)
    groups = generator.integers(0, 2, (4000, 3)).astype(float).tolist()
    assert effective_episodes(groups) > 11_000


def test_where_every_episode_succeeds_a_placement_counts_once() -> None:
    assert effective_episodes([[1.0] * 3] * 8) == pytest.approx(8.0)


@given(GROUPS)
def test_a_rate_lies_within_its_interval(groups: list[list[float]]) -> None:
    found = rate(groups)
    assert 0.0 <= found.low <= found.value <= found.high <= 1.0


@given(st.lists(GROUPS, min_size=1, max_size=4))
def test_the_mean_over_tasks_lies_within_its_interval(tasks: list[list[list[float]]]) -> None:
    rates = [rate(groups) for groups in tasks]
    mean = mean_rate(rates)
    assert mean.value == pytest.approx(np.mean([each.value for each in rates]))
    assert mean.low <= mean.value <= mean.high
    assert mean.n == sum(each.n for each in rates)


def test_the_mean_of_one_task_is_that_task() -> None:
    only = SuccessRate(0.25, 0.1, 0.5, 8)
    mean = mean_rate([only])
    assert (mean.value, mean.low, mean.high, mean.n) == pytest.approx((0.25, 0.1, 0.5, 8))


def test_the_mean_of_four_tasks_is_surer_than_one() -> None:
    one = rate([[1.0]] * 12 + [[0.0]] * 12)
    four = mean_rate([one] * 4)
    assert four.high - four.low == pytest.approx((one.high - one.low) / 2)


@given(st.integers(0, 30), st.integers(0, 30), st.integers(0, 5))
def test_with_one_seed_the_paired_test_is_mcnemars_exact_one(better: int, worse: int, same: int) -> None:
    found = paired_p_value([1] * better + [-1] * worse + [0] * same)
    expected = binomtest(better, better + worse).pvalue if better + worse else 1.0
    assert found == pytest.approx(expected, abs=1e-9)


@given(st.lists(st.integers(-3, 3), min_size=1, max_size=9))
def test_the_paired_test_counts_sign_patterns(differences: list[int]) -> None:
    sums = [np.dot(signs, np.abs(differences)) for signs in itertools.product((-1, 1), repeat=len(differences))]
    expected = np.mean(np.abs(sums) >= abs(sum(differences)))
    assert paired_p_value(differences) == pytest.approx(expected)


def test_seeds_that_repeat_a_difference_do_not_make_it_surer() -> None:
    assert paired_p_value([3] * 5 + [-3]) == pytest.approx(paired_p_value([1] * 5 + [-1]))


def test_holms_correction_as_worked_by_hand() -> None:
    # Sorted 0.01, 0.02, 0.04, 0.04 times 4, 3, 2, 1, and none below one before it.
    assert holm([0.04, 0.01, 0.04, 0.02]) == pytest.approx([0.08, 0.04, 0.08, 0.06])
    assert holm([0.6, 0.9]) == [1.0, 1.0] and holm([]) == []


@given(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=9))
def test_a_correction_lowers_no_p_value_and_keeps_their_order(p_values: list[float]) -> None:
    corrected = holm(p_values)
    assert all(p <= more <= 1.0 for p, more in zip(p_values, corrected, strict=True))
    assert [corrected[index] for index in np.argsort(p_values, kind="stable")] == sorted(corrected)
    assert min(corrected) == pytest.approx(min(1.0, len(p_values) * min(p_values)))


@examples(quick=20)
@given(st.lists(st.integers(-3, 3), min_size=1, max_size=14))
def test_drawn_signs_agree_with_all_signs(differences: list[int]) -> None:
    assert sign_flip_p_value(differences) == pytest.approx(paired_p_value(differences), abs=0.03)


def test_errors_that_differ_by_episode_alone_are_no_difference() -> None:
    random = np.random.default_rng(0)
    assert sign_flip_p_value(random.normal(size=40)) > 0.05 > sign_flip_p_value(random.normal(1.0, 1.0, 40))
    assert sign_flip_p_value([0.0] * 5) == 1.0


def test_the_interval_of_a_mean_is_of_groups() -> None:
    groups = [(10.0, 10.0), (40.0, 10.0), (20.0, 20.0), (60.0, 20.0)]
    mean, low, high = mean_interval(groups)
    assert mean == pytest.approx(130 / 60) and 1.0 <= low < 1.7 and 2.7 < high <= 4.0
    assert mean_interval([(3.0, 1.0)] * 9) == (3.0, 3.0, 3.0)
