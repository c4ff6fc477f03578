import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.tap_vid import tap_vid_scores
from stvla_ros.errors import InputError

SQUARE = (256, 256)


def one_point(error: list[float], seen: list[bool], claimed: list[bool], size: tuple[int, int] = SQUARE):
    """A point at the origin, predicted ``error`` pixels to the right of it, after the query frame."""
    frames = len(error) + 1
    true, predicted = np.zeros((frames, 1, 2)), np.zeros((frames, 1, 2))
    predicted[1:, 0, 0] = error
    visible = np.array([True, *seen])[:, None]
    return tap_vid_scores(true, visible, predicted, np.array([True, *claimed])[:, None], np.zeros(1, int), size)


def test_perfect_tracks_score_one():
    scores = one_point([0.0, 0.0], [True, False], [True, False])
    assert (scores.delta_avg, scores.occlusion_accuracy, scores.average_jaccard) == (1.0, 1.0, 1.0)


def test_delta_counts_each_threshold():
    scores = one_point([0.5, 3.0, 10.0, 100.0], [True] * 4, [True] * 4)
    assert scores.delta == (0.25, 0.25, 0.5, 0.5, 0.75)
    assert scores.delta_avg == pytest.approx(0.45)


def test_delta_ignores_predicted_visibility_and_truly_hidden_frames():
    scores = one_point([0.0, 99.0], [True, False], [False, True])
    assert scores.delta_avg == 1.0


def test_threshold_itself_is_outside():
    assert one_point([1.0], [True], [True]).delta == (0.0, 1.0, 1.0, 1.0, 1.0)


def test_occlusion_accuracy_counts_all_frames_after_the_query():
    assert one_point([0.0] * 4, [True, True, False, False], [True, False, False, True]).occlusion_accuracy == 0.5


def test_jaccard_by_hand():
    # Three seen: one right, one claimed but 3 px off, one not claimed; one hidden but claimed.
    scores = one_point([0.0, 3.0, 0.0, 0.0], [True, True, True, False], [True, True, False, True])
    # Up to 2 px: 1 true positive of 3 seen + 2 false positives. From 4 px: 2 of 3 + 1.
    assert scores.jaccard == pytest.approx((1 / 5, 1 / 5, 2 / 4, 2 / 4, 2 / 4))
    assert scores.average_jaccard == pytest.approx(0.38)


def test_errors_are_measured_at_256_by_256():
    # 5 px of 640 are 2 px of 256; in y 5 px of 480 are 2.67.
    assert one_point([4.9], [True], [True], (640, 480)).delta == (0.0, 1.0, 1.0, 1.0, 1.0)
    assert one_point([5.1], [True], [True], (640, 480)).delta == (0.0, 0.0, 1.0, 1.0, 1.0)


def test_frames_up_to_the_query_do_not_count():
    true = np.zeros((4, 2, 2))
    predicted = true.copy()
    predicted[:3, 1] = 99.0
    seen = np.ones((4, 2), bool)
    scores = tap_vid_scores(true, seen, predicted, seen, np.array([0, 2]), SQUARE)
    assert scores.pairs == 4 and scores.delta_avg == 1.0


def test_nothing_to_count_is_nan():
    scores = one_point([], [], [])
    assert np.isnan([scores.delta_avg, scores.occlusion_accuracy, scores.average_jaccard]).all()


def test_nan_prediction_is_wrong_and_nan_truth_of_a_hidden_point_harmless():
    assert one_point([np.nan], [True], [True]).delta_avg == 0.0
    true = np.array([[[0.0, 0.0]], [[np.nan, np.nan]]])
    seen = np.array([[True], [False]])
    assert tap_vid_scores(true, seen, np.zeros((2, 1, 2)), seen, np.zeros(1, int), SQUARE).occlusion_accuracy == 1.0


def test_shapes_that_do_not_match_are_an_error():
    points, seen = np.zeros((3, 1, 2)), np.ones((3, 1), bool)
    with pytest.raises(InputError, match="tracks"):
        tap_vid_scores(points, np.ones((3, 2), bool), points, seen, np.zeros(1, int), SQUARE)
    with pytest.raises(InputError, match="query_frames"):
        tap_vid_scores(points, seen, points, seen, np.zeros(2, int), SQUARE)


@given(seed=st.integers(0, 2**32 - 1))
def test_equals_counting_one_by_one(seed):
    chance = np.random.default_rng(seed)
    true, predicted = chance.uniform(0, 30, (2, 6, 3, 2))
    seen, claimed = chance.random((2, 6, 3)) < 0.7
    queries = chance.integers(0, 3, 3)
    deltas, jaccards = [], []
    for threshold in (1, 2, 4, 8, 16):
        near = positives = true_positives = false_positives = 0
        for t in range(6):
            for n in range(3):
                if t <= queries[n]:
                    continue
                dx, dy = predicted[t, n] - true[t, n]
                within = dx * dx + dy * dy < threshold**2
                positives += seen[t, n]
                near += within and seen[t, n]
                true_positives += within and seen[t, n] and claimed[t, n]
                false_positives += claimed[t, n] and not (within and seen[t, n])
        deltas.append(near / positives if positives else np.nan)
        jaccards.append(true_positives / (positives + false_positives) if positives + false_positives else np.nan)
    scores = tap_vid_scores(true, seen, predicted, claimed, queries, SQUARE)
    np.testing.assert_allclose(scores.delta, deltas)
    np.testing.assert_allclose(scores.jaccard, jaccards)
