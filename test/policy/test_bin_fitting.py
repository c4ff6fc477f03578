"""Bins for a new data set, and embeddings moved onto them."""

import numpy as np
import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm
from tolerance import assert_same_but_for_rounding

from stvla_ros.errors import InputError
from stvla_ros.policy.spatialvla.actions.action_tokenizer import (
    COORDINATE_RANGES,
    COORDINATES,
    ROTATION_COORDINATES,
    TRANSLATION_COORDINATES,
    ActionTokenizer,
)
from stvla_ros.policy.spatialvla.actions.bin_fitting import (
    PUBLISHED_GAUSSIANS,
    Gaussian,
    bins_from_gaussians,
    fit_bins,
    fit_gaussians,
    regrid_embeddings,
)

SMALL = {"theta": 4, "phi": 5, "r": 3, "roll": 4, "pitch": 3, "yaw": 5}
OLD = bins_from_gaussians(PUBLISHED_GAUSSIANS, SMALL)
NEW = bins_from_gaussians({name: Gaussian(g.mean + 0.1, 0.8 * g.std) for name, g in PUBLISHED_GAUSSIANS.items()}, SMALL)


def sample_actions(count: int = 4000) -> np.ndarray:
    rng = np.random.default_rng(3)
    scale = [0.4, 0.3, 0.2, 0.3, 0.1, 0.4]
    values = np.clip(rng.normal([0.1, -0.1, -0.2, 0.0, 0.1, 0.0], scale, (count, 6)), -1, 1)
    return np.concatenate([values, rng.integers(0, 2, (count, 1))], axis=1)


def midpoint_table(tokenizer: ActionTokenizer) -> np.ndarray:
    """(num_tokens, 3): every token's own coordinates, what an embedding linear in them would be."""
    rows = [np.array([[-5.0, 0.0, 5.0], [5.0, 0.0, -5.0]])]
    for names in (ROTATION_COORDINATES, TRANSLATION_COORDINATES):
        grid = np.meshgrid(*(tokenizer.midpoints(name) for name in names), indexing="ij")
        rows.insert(0, np.stack([g.ravel() for g in grid], axis=-1))
    return np.concatenate(rows)


def test_published_gaussians_give_the_published_edges(published_config):
    published = ActionTokenizer.from_config(published_config)
    fitted = bins_from_gaussians(PUBLISHED_GAUSSIANS)
    for name in COORDINATES:
        # The inverse of the normal distribution is steep in its tails.
        assert_same_but_for_rounding(fitted.edges(name), published.edges(name), 1, amplification=10.0, dtype=np.float64)


@examples(quick=100)
@given(
    mean=st.floats(0.0, 1.0),
    std=st.floats(0.05, 2.0),
    name=st.sampled_from(COORDINATES),
    bins=st.integers(1, 40),
    min_sigma=st.sampled_from([0.0, 0.5]),
)
def test_bins_are_equally_probable_and_fill_the_range(mean, std, name, bins, min_sigma):
    low, high = COORDINATE_RANGES[name]
    gaussian = Gaussian(low + mean * (high - low), std)
    tokenizer = bins_from_gaussians(PUBLISHED_GAUSSIANS | {name: gaussian}, SMALL | {name: bins}, min_sigma)
    edges = np.array(tokenizer.edges(name))
    assert (edges[0], edges[-1], len(edges)) == (low, high, bins + 1)
    probability = np.diff(norm.cdf(edges, gaussian.mean, max(std, min_sigma)))
    np.testing.assert_allclose(probability, probability.sum() / bins, rtol=1e-6, atol=1e-12)


def test_fit_recovers_the_gaussians_of_the_rotations():
    fitted = fit_gaussians(sample_actions())
    for name, mean, std in (("roll", 0.0, 0.3), ("pitch", 0.1, 0.1), ("yaw", 0.0, 0.4)):
        assert fitted[name].mean == pytest.approx(mean, abs=0.03)
        assert fitted[name].std == pytest.approx(std, abs=0.03)


def test_fit_describes_translations_by_direction_and_length():
    rng = np.random.default_rng(4)
    theta, phi, r = rng.normal(1.2, 0.1, 2000), rng.normal(-0.8, 0.2, 2000), rng.normal(0.6, 0.05, 2000)
    actions = np.zeros((2000, 7))
    actions[:, :3] = np.stack((r * np.sin(theta) * np.cos(phi), r * np.sin(theta) * np.sin(phi), r * np.cos(theta)), 1)
    fitted = fit_gaussians(actions)
    for name, values in (("theta", theta), ("phi", phi), ("r", r)):
        assert fitted[name].mean == pytest.approx(values.mean(), abs=1e-9)
        assert fitted[name].std == pytest.approx(values.std(), abs=1e-9)


def test_translations_of_zero_length_do_not_pull_the_directions():
    actions = sample_actions()
    idle = actions.copy()
    idle[:, :3] = 0.0
    moving, mixed = fit_gaussians(actions), fit_gaussians(np.concatenate([actions, idle]))
    assert mixed["theta"] == moving["theta"] and mixed["phi"] == moving["phi"]
    assert mixed["r"].mean == pytest.approx(0.5 * moving["r"].mean)


def rotation_errors(tokenizer: ActionTokenizer, actions: np.ndarray) -> np.ndarray:
    return np.abs(tokenizer.decode(tokenizer.encode(actions)) - actions)[:, 3:6]


def test_fitted_bins_are_finer_than_the_published_ones_where_the_data_is():
    actions = sample_actions() * [0.3, 0.3, 0.3, 0.3, 0.3, 0.3, 1.0]
    fitted = rotation_errors(fit_bins(actions, min_sigma=0.0), actions)
    assert np.median(fitted) < 0.5 * np.median(rotation_errors(bins_from_gaussians(PUBLISHED_GAUSSIANS), actions))


def test_min_sigma_keeps_the_outermost_bins_near_the_data():
    actions = sample_actions() * [0.3, 0.3, 0.3, 0.3, 0.3, 0.3, 1.0]
    without = rotation_errors(fit_bins(actions, min_sigma=0.0), actions)
    assert rotation_errors(fit_bins(actions), actions).mean() < 0.5 * without.mean()


def test_min_sigma_keeps_a_constant_coordinate_usable():
    actions = sample_actions()
    actions[:, 4] = 0.0
    with pytest.raises(InputError, match=r"gaussian of pitch: .*positive standard deviation \(raise min_sigma\)"):
        fit_bins(actions, min_sigma=0.0)
    tokenizer = fit_bins(actions, min_sigma=0.5)
    assert np.diff(tokenizer.edges("pitch")).max() < 0.5


@pytest.mark.parametrize("std", [1e-9, 1e-300])
def test_gaussians_so_narrow_that_edges_fall_together_are_refused(std):
    with pytest.raises(InputError, match=r"gaussian of yaw: .*raise min_sigma"):
        bins_from_gaussians({**PUBLISHED_GAUSSIANS, "yaw": Gaussian(0.0, std)})


@pytest.mark.parametrize(
    "actions, message",
    [
        (sample_actions(9), "N >= 10"),
        (sample_actions()[0], "N >= 10"),
        (np.full((50, 7), np.nan), "finite"),
        (np.zeros((50, 7)), "at least 10 translations that are not zero, got 0"),
    ],
)
def test_actions_that_say_too_little_are_refused(actions, message):
    with pytest.raises(InputError, match=message):
        fit_bins(actions)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"gaussians": {"theta": Gaussian(0.0, 1.0)}}, "gaussians: expected the coordinates"),
        ({"gaussians": {**PUBLISHED_GAUSSIANS, "r": Gaussian(np.nan, 1.0)}}, "gaussian of r: expected a finite mean"),
        ({"num_bins": {**SMALL, "phi": 0}}, "num_bins of phi: expected at least 1, got 0"),
        ({"min_sigma": -0.1}, "min_sigma: expected"),
        ({"min_sigma": np.nan}, "min_sigma: expected"),
    ],
)
def test_wrong_parameters_are_refused(change, message):
    with pytest.raises(InputError, match=message):
        bins_from_gaussians(**({"gaussians": PUBLISHED_GAUSSIANS} | change))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_embeddings_on_the_same_bins_are_unchanged(dtype):
    embeddings = np.random.default_rng(5).normal(size=(OLD.num_tokens, 6)).astype(dtype)
    moved = regrid_embeddings(embeddings, OLD, OLD)
    assert moved.dtype == dtype
    np.testing.assert_array_equal(moved, embeddings)


def test_an_embedding_linear_in_the_coordinates_stays_so_and_is_constant_beyond_the_ends():
    expected = midpoint_table(NEW)
    for begin, names in ((0, TRANSLATION_COORDINATES), (OLD.legal_ranges[1][0], ROTATION_COORDINATES)):
        end = begin + np.prod([OLD.num_bins(name) for name in names])
        for column, name in enumerate(names):
            inside = OLD.midpoints(name)[[0, -1]]
            expected[begin:end, column] = np.clip(expected[begin:end, column], *inside)
    np.testing.assert_allclose(regrid_embeddings(midpoint_table(OLD), OLD, NEW), expected, atol=1e-12)


def test_gripper_embeddings_are_unchanged():
    embeddings = np.random.default_rng(6).normal(size=(OLD.num_tokens, 4))
    np.testing.assert_array_equal(regrid_embeddings(embeddings, OLD, NEW)[-2:], embeddings[-2:])


def test_embeddings_move_to_another_number_of_bins():
    more = bins_from_gaussians(PUBLISHED_GAUSSIANS, SMALL | {"phi": 1, "yaw": 9})
    moved = regrid_embeddings(np.ones((OLD.num_tokens, 2), dtype=np.float32), OLD, more)
    np.testing.assert_array_equal(moved, np.ones((more.num_tokens, 2), dtype=np.float32))


@pytest.mark.parametrize(
    "embeddings",
    [np.zeros((OLD.num_tokens - 1, 2)), np.zeros(OLD.num_tokens), np.zeros((OLD.num_tokens, 2), dtype=np.int64)],
)
def test_embeddings_of_another_shape_or_type_are_refused(embeddings):
    with pytest.raises(InputError, match=f"embeddings: expected floating point of shape \\({OLD.num_tokens}, E\\)"):
        regrid_embeddings(embeddings, OLD, NEW)
