"""What a linear map tells of episodes that it has not seen."""

import numpy as np
import pytest

from stvla_ros.policy.ridge_probe import folds, held_out_errors, principal_components


def made(episodes: int = 20, frames: int = 30, wide: int = 8, noise: float = 0.1, seed: int = 0):
    """Inputs, the targets that a linear map makes of them with some noise, and the episodes."""
    random = np.random.default_rng(seed)
    inputs = random.normal(size=(episodes * frames, wide)) * np.logspace(-2, 2, wide)
    weights = random.normal(size=(wide, 2)) / np.logspace(-2, 2, wide)[:, None]
    targets = inputs @ weights + 5.0
    targets += noise * targets.std() * random.normal(size=targets.shape)
    return inputs, targets, np.repeat(np.arange(episodes), frames)


def test_a_planted_linear_map_is_recovered() -> None:
    inputs, targets, episodes = made()
    told = held_out_errors(inputs, targets, episodes)
    for column in (0, 1):
        explained = told.explained([column])
        assert explained.low <= explained.value <= explained.high
        # Of the variance, a hundredth is noise.
        assert explained.value == pytest.approx(0.99, abs=0.01)
        assert (explained.frames, explained.episodes) == (600, 20)


def test_inputs_of_other_episodes_tell_nothing() -> None:
    inputs, targets, episodes = made()
    shuffled = np.concatenate([inputs[episodes == each] for each in np.random.default_rng(1).permutation(20)])
    explained = held_out_errors(shuffled, targets, episodes).explained([0, 1])
    assert abs(explained.value) < 0.05


def test_what_tells_the_episode_alone_tells_nothing_of_another_one() -> None:
    """Frames of one episode in both halves would make this nearly 1."""
    episodes = np.repeat(np.arange(20), 10)
    random = np.random.default_rng(0)
    inputs = random.normal(size=(20, 40))[episodes]
    targets = random.normal(size=(20, 1))[episodes]
    assert held_out_errors(inputs, targets, episodes).explained([0]).value < 0.1


@pytest.mark.parametrize("count", [2, 5, 50])
def test_no_episode_is_in_both_halves_and_each_is_held_out_once(count: int) -> None:
    episodes = np.random.default_rng(0).permutation(np.repeat([3, 4, 8, 15, 16, 23, 42], 5))
    held = []
    for seen, out in folds(episodes, count, seed=1):
        assert (seen ^ out).all() and not set(episodes[seen]) & set(episodes[out])
        held += sorted(set(episodes[out].tolist()))
    assert sorted(held) == [3, 4, 8, 15, 16, 23, 42]


def test_unknown_targets_are_left_out() -> None:
    inputs, targets, episodes = made()
    gone = np.random.default_rng(2).random(len(inputs)) < 0.3
    unknown, strange = targets.copy(), inputs.copy()
    unknown[gone, 0], strange[gone] = np.nan, 1e6
    left_out = held_out_errors(inputs[~gone], targets[~gone], episodes[~gone]).explained([0])
    assert held_out_errors(strange, unknown, episodes).explained([0]) == left_out


def test_frames_that_are_there_twice_make_no_interval_narrower() -> None:
    inputs, targets, episodes = made(episodes=8, frames=40, noise=1.0)
    once = held_out_errors(inputs, targets, episodes).explained([0])
    twice = held_out_errors(*(np.repeat(each, 2, axis=0) for each in (inputs, targets, episodes))).explained([0])
    assert (twice.low, twice.high) == pytest.approx((once.low, once.high), abs=1e-6)
    assert once.high - once.low > 0.02


@pytest.mark.parametrize("case", ["two episodes", "constant target", "no target"])
def test_what_cannot_be_told_has_no_value(case: str) -> None:
    inputs, targets, episodes = made(episodes=2 if case == "two episodes" else 6)
    if case != "two episodes":
        targets[:] = 1.0 if case == "constant target" else np.nan
    assert np.isnan(held_out_errors(inputs, targets, episodes).explained([0]).value)


def test_inputs_that_never_vary_tell_the_mean() -> None:
    _, targets, episodes = made()
    explained = held_out_errors(np.ones((len(targets), 4)), targets, episodes).explained([0, 1])
    assert explained.value == pytest.approx(0.0, abs=1e-9)


def test_a_code_that_was_never_seen_is_not_told_by_the_rounding_of_another() -> None:
    inputs, targets, episodes = made(wide=3)
    random = np.random.default_rng(5)
    code = 0.3 + 3e-7 * random.normal(size=len(inputs))
    code[episodes == 7] = -0.3
    inputs = np.column_stack([inputs / inputs.std(axis=0), code])
    assert held_out_errors(inputs, targets, episodes).explained([0, 1]).value > 0.9


def test_principal_components_are_the_directions_of_the_most_variance() -> None:
    random = np.random.default_rng(0)
    rows = random.normal(size=(200, 5)) * [9, 7, 5, 3, 1] @ np.linalg.qr(random.normal(size=(60, 5)))[0].T
    rows += 0.01 * random.normal(size=rows.shape) + 4.0
    found = principal_components(rows, 5)
    left, sizes, _ = np.linalg.svd(rows - rows.mean(axis=0), full_matrices=False)
    expected = left[:, :5] * sizes[:5]
    signs = np.sign((found * expected).sum(axis=0))
    np.testing.assert_allclose(found * signs, expected, atol=1e-3 * sizes[0])


def test_there_are_no_more_components_than_there_can_be() -> None:
    assert principal_components(np.random.default_rng(0).normal(size=(6, 40)), 64).shape == (6, 6)
