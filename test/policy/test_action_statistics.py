"""Actions in SI units to normalized actions and back, by the statistics of a data set."""

import json

import numpy as np
import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from stvla_ros.errors import InputError
from stvla_ros.policy.action_statistics import (
    MIN_ACTIONS,
    PUBLISHED_KEYS,
    ActionStatistics,
    fit_statistics,
    read_statistics,
    say_statistics,
    select_statistics,
)

MASK = [True] * 6 + [False]
BRIDGE_LIKE = ActionStatistics(
    q01=[-0.03, -0.04, -0.026, -0.08, -0.09, -0.2, 0.0], q99=[0.028, 0.04, 0.04, 0.08, 0.08, 0.2, 1.0], mask=MASK
)


@st.composite
def statistics(draw: st.DrawFn) -> ActionStatistics:
    row = hnp.arrays(np.float64, 7, elements=st.floats(-2.0, 2.0))
    span = hnp.arrays(np.float64, 7, elements=st.floats(1e-3, 4.0))
    low = draw(row)
    return ActionStatistics(q01=low, q99=low + draw(span), mask=draw(hnp.arrays(np.bool_, 7)))


def shares() -> st.SearchStrategy[np.ndarray]:
    return hnp.arrays(np.float64, st.tuples(st.integers(1, 6), st.just(7)), elements=st.floats(0.0, 1.0))


def sample_actions(count: int = 500) -> np.ndarray:
    rng = np.random.default_rng(1)
    return np.concatenate([rng.normal(0.01, 0.05, (count, 6)), rng.integers(0, 2, (count, 1))], axis=1)


@examples(quick=100)
@given(statistics(), shares())
def test_actions_between_the_quantiles_come_back(stats, share):
    actions = stats.q01 + share * (stats.q99 - stats.q01)
    np.testing.assert_allclose(stats.unnormalize(stats.normalize(actions)), actions, rtol=0, atol=1e-12)


@examples(quick=100)
@given(statistics(), shares())
def test_normalized_actions_come_back(stats, share):
    normalized = np.where(stats.mask, 2.0 * share - 1.0, share)
    np.testing.assert_allclose(stats.normalize(stats.unnormalize(normalized)), normalized, rtol=0, atol=1e-9)


@examples(quick=100)
@given(statistics(), hnp.arrays(np.float64, (5, 7), elements=st.floats(-10.0, 10.0)))
def test_normalized_actions_stay_in_range_where_scaled_and_pass_elsewhere(stats, actions):
    normalized = stats.normalize(actions)
    assert (np.abs(normalized[:, stats.mask]) <= 1.0).all()
    np.testing.assert_array_equal(normalized[:, ~stats.mask], actions[:, ~stats.mask])


def test_ends_and_middle_of_the_range_unnormalize_to_the_quantiles_and_their_mean():
    gripper = np.array([0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0])
    for value, expected in (
        (-1.0, BRIDGE_LIKE.q01),
        (0.0, 0.5 * (BRIDGE_LIKE.q01 + BRIDGE_LIKE.q99)),
        (1.0, BRIDGE_LIKE.q99),
    ):
        action = BRIDGE_LIKE.unnormalize(np.where(MASK, value, gripper))
        np.testing.assert_allclose(action[:6], expected[:6], atol=1e-15)
        assert action[6] == 1.0


def test_a_dimension_that_never_moves_is_zero_normalized_and_constant_unnormalized():
    stats = ActionStatistics(q01=[0.2] * 7, q99=[0.2] * 7, mask=MASK)
    np.testing.assert_array_equal(stats.normalize([[5.0] * 7])[0], [0.0] * 6 + [5.0])
    np.testing.assert_array_equal(stats.unnormalize([0.9] * 7), [0.2] * 6 + [0.9])


def test_published_statistics_survive_the_round_trip(published_config):
    written = {key: stats.to_config() for key, stats in read_statistics(published_config).items()}
    assert len(written) == 28
    assert written == published_config["statistics"]


def test_published_bridge_statistics_scale_to_its_quantiles(published_config):
    block = published_config["statistics"]["bridge_orig/1.0.0"]["action"]
    _, stats = select_statistics(read_statistics(published_config), "bridge_orig/1.0.0")
    np.testing.assert_allclose(stats.unnormalize([1.0] * 7), block["q99"][:6] + [1.0], atol=1e-15)
    np.testing.assert_allclose(stats.unnormalize([-1.0] * 6 + [0.0]), block["q01"][:6] + [0.0], atol=1e-15)


def test_a_block_without_a_mask_scales_every_dimension():
    stats = ActionStatistics.from_config({"action": {"q01": [-1.0] * 7, "q99": [3.0] * 7}})
    np.testing.assert_array_equal(stats.unnormalize([0.0] * 7), [1.0] * 7)


@pytest.mark.parametrize("unnorm_key", [None, ""])
def test_without_a_key_the_only_data_set_is_taken(unnorm_key):
    assert select_statistics({"mine": BRIDGE_LIKE}, unnorm_key, "other") == ("mine", BRIDGE_LIKE)


def test_without_a_key_the_fallback_is_taken_of_several():
    other = ActionStatistics(q01=[0.0] * 7, q99=[1.0] * 7, mask=MASK)
    assert select_statistics({"a": other, "b": BRIDGE_LIKE}, None, "b") == ("b", BRIDGE_LIKE)


def test_the_statistics_that_were_added_to_the_published_ones_are_taken_and_said(capsys):
    other = ActionStatistics(q01=[0.0] * 7, q99=[1.0] * 7, mask=MASK)
    statistics = {"kuka/0.1.0": other, "bridge_orig/1.0.0": other, "my_lab_pick/1.0.0": BRIDGE_LIKE}
    key, found = select_statistics(statistics, "", "bridge_orig/1.0.0")
    assert (key, found) == ("my_lab_pick/1.0.0", BRIDGE_LIKE)
    say_statistics(statistics, key, "", "bridge_orig/1.0.0")
    assert capsys.readouterr().err == (
        "note: action statistics 'my_lab_pick/1.0.0' of 3 (added to the published ones)\n"
    )


def test_of_several_that_were_added_one_must_be_asked_for():
    statistics = dict.fromkeys(("bridge_orig/1.0.0", "mine", "yours"), BRIDGE_LIKE)
    with pytest.raises(InputError, match=r"unnorm_key: expected one of mine, yours, bridge_orig/1.0.0; got none"):
        select_statistics(statistics, "", "bridge_orig/1.0.0")


def test_the_published_keys_are_those_of_the_published_file(published_config):
    assert set(published_config["statistics"]) <= PUBLISHED_KEYS


def test_a_given_key_wins_over_the_fallback():
    other = ActionStatistics(q01=[0.0] * 7, q99=[1.0] * 7, mask=MASK)
    assert select_statistics({"a": other, "b": BRIDGE_LIKE}, "a", "b") == ("a", other)


@pytest.mark.parametrize(
    "unnorm_key, fallback, got", [("c", "", "'c'"), ("c", "a", "'c'"), (None, "", "none"), ("", "d", "none")]
)
def test_an_absent_key_lists_those_that_exist(unnorm_key, fallback, got):
    with pytest.raises(InputError, match=f"unnorm_key: expected one of a, b; got {got}$"):
        select_statistics({"a": BRIDGE_LIKE, "b": BRIDGE_LIKE}, unnorm_key, fallback)


def test_a_checkpoint_without_statistics_is_named():
    with pytest.raises(InputError, match="no statistics"):
        select_statistics({}, "a")
    for config in ({}, {"statistics": {}}, {"statistics": None}):
        with pytest.raises(InputError, match="statistics: expected at least one data set"):
            read_statistics(config)


@pytest.mark.parametrize(
    "block, message",
    [
        ({}, "statistics action: expected an object"),
        ({"action": {"q01": [0.0] * 7}}, "statistics q99: expected 7 numbers"),
        ({"action": {"q01": [0.0] * 6, "q99": [1.0] * 7}}, "statistics q01: expected 7 finite numbers"),
        ({"action": {"q01": [0.0] * 7, "q99": [float("nan")] * 7}}, "statistics q99: expected 7 finite numbers"),
        ({"action": {"q01": ["x"] * 7, "q99": [1.0] * 7}}, "statistics q01: expected 7 numbers"),
        ({"action": {"q01": [0.0] * 7, "q99": [1.0] * 5 + [-1.0, 1.0]}}, "0.0 > -1.0 at index 5"),
        ({"action": {"q01": [0.0] * 7, "q99": [1.0] * 7, "mask": [True]}}, "statistics mask: expected 7"),
    ],
)
def test_a_wrong_block_is_refused_with_its_data_set_and_key(block, message):
    with pytest.raises(InputError, match=message) as caught:
        read_statistics({"statistics": {"mine/1.0.0": block}})
    assert "'mine/1.0.0'" in str(caught.value)


@pytest.mark.parametrize("method", ["normalize", "unnormalize"])
@pytest.mark.parametrize("bad", [np.zeros(6), [np.nan] * 7, [np.inf] * 7])
def test_actions_that_cannot_be_scaled_are_refused(method, bad):
    with pytest.raises(InputError, match="actions: expected"):
        getattr(BRIDGE_LIKE, method)(bad)


def test_fitted_statistics_leave_one_per_cent_beyond_either_end():
    actions = sample_actions(10_000)
    stats = fit_statistics(actions, num_trajectories=20)
    normalized = 2.0 * (actions - stats.q01) / (stats.q99 - stats.q01) - 1.0
    np.testing.assert_allclose((normalized[:, :6] < -1.0).mean(axis=0), 0.01, atol=2e-4)
    np.testing.assert_allclose((normalized[:, :6] > 1.0).mean(axis=0), 0.01, atol=2e-4)
    assert stats.mask.tolist() == MASK


def test_fitted_statistics_are_written_in_the_published_layout_and_read_again():
    actions = sample_actions()
    block = json.loads(json.dumps(fit_statistics(actions, num_trajectories=7).to_config()))
    assert set(block["action"]) == {"mean", "std", "max", "min", "q01", "q99", "mask"}
    assert (block["num_transitions"], block["num_trajectories"]) == (500, 7)
    np.testing.assert_allclose(block["action"]["mean"], actions.mean(axis=0))
    np.testing.assert_allclose(block["action"]["std"], actions.std(axis=0))
    assert ActionStatistics.from_config(block).to_config() == block


@pytest.mark.parametrize(
    "actions, trajectories, message",
    [
        (sample_actions(MIN_ACTIONS - 1), 1, "N >= 100"),
        (sample_actions()[None], 1, r"got \(1, 500, 7\)"),
        (sample_actions() * np.nan, 1, "finite"),
        (sample_actions() * 2.0, 1, r"gripper of 0 \(closed\) to 1 \(open\), got 0..2"),
        (sample_actions() - [0, 0, 0, 0, 0, 0, 0.5], 1, r"gripper of 0 \(closed\) to 1 \(open\), got -0.5..0.5"),
        (sample_actions(), 0, r"num_trajectories: expected 1..500"),
        (sample_actions(), 501, r"num_trajectories: expected 1..500"),
    ],
)
def test_a_data_set_that_says_too_little_is_refused(actions, trajectories, message):
    with pytest.raises(InputError, match=message):
        fit_statistics(actions, trajectories)
