"""Normalized actions to tokens and back, on the published bins and on random ones."""

import copy
import json

import numpy as np
import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from stvla_ros.errors import InputError
from stvla_ros.policy.spatialvla.actions.action_tokenizer import (
    COORDINATE_RANGES,
    COORDINATES,
    ROTATION_COORDINATES,
    ActionTokenizer,
    action_coordinates,
)
from stvla_ros.policy.spatialvla.actions.bin_fitting import PUBLISHED_GAUSSIANS, bins_from_gaussians

TOKENIZER = bins_from_gaussians(PUBLISHED_GAUSSIANS)

# Actions, offsets and decoded actions as the reference implementation (SpatialVLA/SpatialVLA at e480753) gives them
# with the published edges.
REFERENCE = [
    ([0, 0, 0, 0, 0, 0, 0], [120, 6263, 8192],
     [0.034028749994, 0.001098863103, 0.092306886098, 0.013474409927, -0.016394977841, -0.032815171667, 0]),
    ([1, 1, 1, 1, 1, 1, 1], [431, 8191, 8193],
     [0.754896443535, 0.762490847252, 0.953912193845, 0.838122543118, 0.855015426266, 0.849017277279, 1]),
    ([-1, -1, -1, -1, -1, -1, 0], [2831, 4096, 8192],
     [-0.804653085258, -0.775137667517, -0.901612120011, -0.856064914395, -0.839250794717, -0.845502382235, 0]),
    ([1, 0, 0, 0, 0, 1, 1], [1406, 6271, 8193],
     [1, 0.033256738845, 0.037362131331, 0.013474409927, -0.016394977841, 0.849017277279, 1]),
    ([0, 1, 0, 0, 1, 0, 0.5], [1494, 6391, 8193],
     [0.025036073228, 1, 0.037362131331, 0.013474409927, 0.855015426266, -0.032815171667, 1]),
    ([0, 0, 1, 1, 0, 0, 0.49], [126, 8055, 8192],
     [0.356622048966, 0.011516109504, 0.967378198123, 0.838122543118, -0.016394977841, -0.032815171667, 0]),
    ([0, 0, -1, -1, 0, 0, 1], [3966, 4215, 8193],
     [0.160745207937, 0.005190815942, -1, -0.856064914395, -0.016394977841, -0.032815171667, 1]),
    ([-1, 0, 0, 0, 0, -1, 0], [1534, 6256, 8192],
     [-1, 0.248106251775, 0.037362131331, 0.013474409927, -0.016394977841, -0.845502382235, 0]),
    ([-1, -1e-09, 0, 0, -1, 0, 0], [1286, 6151, 8192],
     [-0.987112898811, -0.295541335407, 0.037362131331, 0.013474409927, -0.839250794717, -0.032815171667, 0]),
    ([0.3, -0.2, 0.1, 0.05, -0.6, 0.7, 1], [850, 6175, 8193],
     [0.327591269757, -0.227018197288, 0.130593281865, 0.013474409927, -0.597648973798, 0.849017277279, 1]),
    ([-0.05, 0.02, -0.4, -0.25, 0.33, -0.01, 0], [4090, 5559, 8192],
     [-0.06349565467, 0.015752252476, -0.41428018969, -0.215813562468, 0.296482008246, -0.032815171667, 0]),
    ([2, -3, 0.5, -1.5, 4, 0.2, -7], [847, 4346, 8192],
     [1, -0.923828606486, 0.447032618138, -0.856064914395, 0.855015426266, 0.196774112297, 0]),
]  # fmt: skip
ACTIONS, OFFSETS, DECODED = (np.array(column) for column in zip(*REFERENCE, strict=True))


@st.composite
def tokenizers(draw: st.DrawFn) -> ActionTokenizer:
    edges = {}
    for name in COORDINATES:
        widths = np.array(draw(st.lists(st.floats(0.05, 1.0), min_size=1, max_size=5)))
        low, high = COORDINATE_RANGES[name]
        edges[f"{name}_edges"] = low + (high - low) * np.concatenate(([0.0], np.cumsum(widths) / widths.sum()))
        edges[f"{name}_edges"][-1] = high
    return ActionTokenizer(**edges, chunk_size=draw(st.integers(1, 8)))


def actions(low: float = -1.0, high: float = 1.0) -> st.SearchStrategy[np.ndarray]:
    values = st.one_of(st.floats(low, high), st.sampled_from([-1.0, -0.0, 0.0, 0.5, 1.0]))
    return hnp.arrays(np.float64, st.tuples(st.integers(1, 8), st.just(7)), elements=values)


def all_offsets(tokenizer: ActionTokenizer) -> np.ndarray:
    """Every translation and every rotation offset at least once."""
    ranges = tokenizer.legal_ranges
    index = np.arange(max(end - begin for begin, end in ranges))
    return np.stack([begin + index % (end - begin) for begin, end in ranges], axis=-1)


def unclipped_translations(tokenizer: ActionTokenizer) -> np.ndarray:
    """(translations, 3): the mid-points in cartesian coordinates, before decode's clipping."""
    theta, phi, r = np.meshgrid(*(tokenizer.midpoints(name) for name in ("theta", "phi", "r")), indexing="ij")
    xyz = r * np.sin(theta) * np.cos(phi), r * np.sin(theta) * np.sin(phi), r * np.cos(theta)
    return np.stack([value.ravel() for value in xyz], axis=-1)


def test_reference_offsets_and_values_with_the_published_edges(published_config):
    tokenizer = ActionTokenizer.from_config(published_config)
    np.testing.assert_array_equal(tokenizer.encode(ACTIONS), OFFSETS)
    np.testing.assert_allclose(tokenizer.decode(OFFSETS), DECODED, rtol=0, atol=1e-11)  # as many digits are stored


def test_reference_offsets_and_values_with_the_fitted_edges():
    np.testing.assert_array_equal(TOKENIZER.encode(ACTIONS), OFFSETS)
    np.testing.assert_allclose(TOKENIZER.decode(OFFSETS), DECODED, rtol=0, atol=1e-11)


def test_published_config_survives_the_round_trip(published_config):
    written = ActionTokenizer.from_config(published_config).to_config()
    assert set(written) == {"bin_policy", "action_config", "action_chunk_size"}
    assert written == {key: published_config[key] for key in written}


def test_published_layout_has_8194_tokens_in_three_ranges():
    assert TOKENIZER.num_tokens == 8194
    assert TOKENIZER.legal_ranges == ((0, 4096), (4096, 8192), (8192, 8194))
    assert TOKENIZER.chunk_size == 4


@examples(quick=100)
@given(tokenizers())
def test_any_tokenizer_survives_the_config_file(tokenizer):
    assert ActionTokenizer.from_config(json.loads(json.dumps(tokenizer.to_config()))) == tokenizer


@examples(quick=100)
@given(tokenizers(), actions(-3.0, 3.0))
def test_encoded_actions_are_legal_and_decode_to_normalized_actions(tokenizer, sample):
    offsets = tokenizer.encode(sample)
    assert offsets.dtype == np.int64 and offsets.shape == (len(sample), 3)
    for values, (begin, end) in zip(offsets.T, tokenizer.legal_ranges, strict=True):
        assert (values >= begin).all() and (values < end).all()
    decoded = tokenizer.decode(offsets)
    assert decoded.dtype == np.float64 and np.abs(decoded).max() <= 1.0
    assert np.isin(decoded[:, 6], (0.0, 1.0)).all()


@examples(quick=100)
@given(tokenizers(), actions())
def test_every_coordinate_lies_in_the_bin_that_its_token_names(tokenizer, sample):
    offsets = tokenizer.encode(sample)
    translation, rotation = offsets[:, 0], offsets[:, 1] - tokenizer.legal_ranges[1][0]
    bins = (
        *np.unravel_index(translation, tokenizer.translation_shape),
        *np.unravel_index(rotation, tokenizer.rotation_shape),
    )
    for name, values, index in zip(COORDINATES, action_coordinates(sample), bins, strict=True):
        edges = np.array(tokenizer.edges(name))
        assert (values >= edges[index] - 1e-9).all() and (values <= edges[index + 1] + 1e-9).all(), name


@examples(quick=100)
@given(tokenizers(), actions())
def test_decoded_rotation_is_within_half_a_bin(tokenizer, sample):
    decoded = tokenizer.decode(tokenizer.encode(sample))
    for column, name in enumerate(ROTATION_COORDINATES, start=3):
        edges = np.array(tokenizer.edges(name))
        index = np.clip(np.searchsorted(edges, sample[:, column], side="right") - 1, 0, len(edges) - 2)
        assert (np.abs(decoded[:, column] - sample[:, column]) <= 0.5 * np.diff(edges)[index] + 1e-9).all()


def assert_unclipped_tokens_come_back(tokenizer: ActionTokenizer) -> int:
    offsets = all_offsets(tokenizer)
    back = tokenizer.encode(tokenizer.decode(offsets))
    np.testing.assert_array_equal(back[:, 1:], offsets[:, 1:])
    clipped = (np.abs(unclipped_translations(tokenizer)) > 1.0).any(axis=-1)[offsets[:, 0]]
    np.testing.assert_array_equal(back[~clipped, 0], offsets[~clipped, 0])
    return np.unique(offsets[clipped, 0]).size


def test_every_published_token_comes_back_unless_its_mid_point_was_clipped():
    assert assert_unclipped_tokens_come_back(TOKENIZER) == 525


@examples(quick=100)
@given(tokenizers())
def test_every_token_comes_back_unless_its_mid_point_was_clipped(tokenizer):
    assert_unclipped_tokens_come_back(tokenizer)


@examples(quick=100)
@given(actions())
def test_decoding_the_decoded_action_changes_nothing_once_inside_the_cube(sample):
    once = TOKENIZER.decode(TOKENIZER.encode(sample))
    inside = (np.abs(once[:, :3]) < 1.0).all(axis=-1)
    np.testing.assert_array_equal(TOKENIZER.decode(TOKENIZER.encode(once))[inside], once[inside])


@pytest.mark.parametrize("column, name", list(enumerate(ROTATION_COORDINATES, start=3)))
def test_a_rotation_on_an_edge_belongs_to_the_bin_above(column, name):
    stride = {"roll": 256, "pitch": 16, "yaw": 1}[name]
    inner = np.array(TOKENIZER.edges(name))[1:-1]
    sample = np.zeros((len(inner), 7))

    def bins(values: np.ndarray) -> list[int]:
        sample[:, column] = values
        return ((TOKENIZER.encode(sample)[:, 1] - 4096) // stride % 16).tolist()

    assert bins(np.nextafter(inner, -2)) == list(range(15))
    assert bins(inner) == bins(np.nextafter(inner, 2)) == list(range(1, 16))


@pytest.mark.parametrize("column, stride", [(3, 256), (4, 16), (5, 1)])
@examples(quick=100)
@given(values=st.lists(st.floats(-1.0, 1.0), min_size=2, max_size=20))
def test_a_larger_rotation_never_has_a_lower_bin(column, stride, values):
    sample = np.zeros((len(values), 7))
    sample[:, column] = np.sort(values)
    assert (np.diff((TOKENIZER.encode(sample)[:, 1] - 4096) // stride % 16) >= 0).all()


@examples(quick=100)
@given(st.floats(0.0, np.pi), st.floats(-np.pi, np.pi), st.lists(st.floats(0.0, 1.0), min_size=2, max_size=10))
def test_a_longer_translation_never_has_a_lower_length_bin(theta, phi, lengths):
    direction = [np.sin(theta) * np.cos(phi), np.sin(theta) * np.sin(phi), np.cos(theta)]
    sample = np.zeros((len(lengths), 7))
    sample[:, :3] = np.outer(np.sort(lengths), direction)
    assert (np.diff(TOKENIZER.encode(sample)[:, 0] % 8) >= 0).all()


@pytest.mark.parametrize(
    "opening, offset",
    [(-1.0, 8192), (0.0, 8192), (np.nextafter(0.5, 0), 8192), (0.5, 8193), (1.0, 8193), (7.0, 8193)],
)
def test_gripper_is_open_from_one_half(opening, offset):
    assert TOKENIZER.encode([0, 0, 0, 0, 0, 0, opening])[2] == offset
    assert TOKENIZER.decode([0, 4096, offset])[6] == offset - 8192


@pytest.mark.parametrize("lead", [(), (0,), (4,), (2, 4)])
def test_leading_dimensions_are_kept(lead):
    sample = np.random.default_rng(0).uniform(-1, 1, (*lead, 7))
    offsets = TOKENIZER.encode(sample)
    assert offsets.shape == (*lead, 3)
    assert TOKENIZER.decode(offsets).shape == (*lead, 7)


@pytest.mark.parametrize(
    "bad, message",
    [
        (np.zeros((2, 6)), r"normalized actions: expected shape \(..., 7\), got \(2, 6\)"),
        (np.float64(0), r"expected shape \(..., 7\), got \(\)"),
        ([[np.nan] * 7, [0] * 7], "NaN or infinity in 1 actions"),
        ([np.inf] * 7, "expected finite numbers"),
        (["a"] * 7, "normalized actions: expected numbers"),
    ],
)
def test_actions_that_cannot_be_encoded_are_refused(bad, message):
    with pytest.raises(InputError, match=message):
        TOKENIZER.encode(bad)


@pytest.mark.parametrize(
    "bad, message",
    [
        ([4096, 4096, 8192], r"expected 0..4095 for a translation, got 4096"),
        ([-1, 4096, 8192], r"expected 0..4095 for a translation, got -1"),
        ([0, 4095, 8192], r"expected 4096..8191 for a rotation, got 4095"),
        ([[0, 4096, 8192], [0, 4096, 8194]], r"expected 8192..8193 for a gripper, got 8194"),
        ([0.0, 4096.0, 8192.0], "expected integers"),
        ([0, 4096], r"shape \(..., 3\)"),
        (7, r"shape \(..., 3\)"),
    ],
)
def test_offsets_that_are_not_legal_are_refused(bad, message):
    with pytest.raises(InputError, match=message):
        TOKENIZER.decode(bad)


def _change(path: tuple[str, ...], value) -> dict:
    config = copy.deepcopy(TOKENIZER.to_config())
    entry = config
    for key in path[:-1]:
        entry = entry[key]
    if value is None:
        del entry[path[-1]]
    else:
        entry[path[-1]] = value
    return config


THETA = ("bin_policy", "translation", "theta_bins")
YAW = ("bin_policy", "rotation", "yaw_bins")
COUNT = ("action_config", "num_bins", "translation", "r_bins")


@pytest.mark.parametrize(
    "path, value, expected",
    [
        (("bin_policy",), None, "expected the key"),
        (THETA, None, "expected the key"),
        (THETA, [0.0, 1.0], "expected 17 edges"),
        (THETA, "wide", "expected a list of numbers"),
        (YAW, [-1.0] + [0.0] * 15 + [1.0], "strictly increasing"),
        (YAW, np.linspace(1, -1, 17).tolist(), "strictly increasing"),
        (YAW, np.linspace(-1, 1.1, 17).tolist(), r"expected edges in -1..1"),
        (YAW, [-1.0] + [float("nan")] * 15 + [1.0], r"expected edges in -1..1"),
        (COUNT, 7, "expected 8 edges"),
        (COUNT, 8.5, "whole number"),
        (COUNT, True, "whole number"),
        (("action_config", "num_bins", "total"), 8195, "expected 8194"),
        (("action_config", "num_bins", "gripper"), 3, "expected 2"),
        (("action_config", "use_spherical"), False, "expected True"),
        (("action_chunk_size",), 0, "at least 1"),
    ],
)
def test_a_wrong_config_is_refused_with_the_key(path, value, expected):
    with pytest.raises(InputError, match=expected) as caught:
        ActionTokenizer.from_config(_change(path, value))
    key = ".".join(path).replace("action_config.num_bins.translation.r_bins", "r_bins")
    assert key in str(caught.value) and "\n" not in str(caught.value)
