"""The quality of point tracks: the metrics of TAP-Vid (Doersch et al. 2022, arXiv 2211.03726), with its "first"
queries.

Positions are compared in a picture scaled to 256 x 256, so that figures of different cameras compare. A point counts in
the frames after the one in which it was queried.

* delta_x: of the points that are truly visible, the share predicted within x pixels, whatever visibility was predicted.
  delta_avg is its mean over x = 1, 2, 4, 8, 16.
* OA, occlusion accuracy: the share of all points whose visibility is predicted right.
* Jaccard at x: true positives / (truly seen + false positives). A true positive is truly seen, predicted seen and
  within x; a false positive is predicted seen, but is truly hidden or farther off than x. AJ is the mean over the
  same x.
"""

from dataclasses import dataclass

import numpy as np

from stvla_ros.errors import InputError

THRESHOLDS = (1.0, 2.0, 4.0, 8.0, 16.0)
SIDE = 256.0


@dataclass(frozen=True)
class TapVidScores:
    """Shares from 0 to 1; NaN if there was nothing to count.

    :param delta: values of delta_x for each of ``THRESHOLDS``; ``jaccard`` likewise.
    :param seen: number of (frame, point) pairs in which a point was truly visible; ``pairs``: number of all pairs that
        counted.
    """

    delta_avg: float
    occlusion_accuracy: float
    average_jaccard: float
    delta: tuple[float, ...]
    jaccard: tuple[float, ...]
    seen: int
    pairs: int


def tap_vid_scores(
    true_points: np.ndarray,
    true_visible: np.ndarray,
    points: np.ndarray,
    visible: np.ndarray,
    query_frames: np.ndarray,
    image_size: tuple[int, int],
) -> TapVidScores:
    """Compare predicted tracks with true ones.

    :param true_points: (T, N, 2) pixels; invisible entries have no meaning and may be NaN.
    :param true_visible: (T, N) bool.
    :param points: (T, N, 2) predicted pixels; NaN counts as farther off than any threshold.
    :param visible: (T, N) bool, predicted visibility.
    :param query_frames: (N,) int, index of the frame in which each point was given to the tracker.
    :param image_size: (width, height) of the picture that the pixels belong to.
    :raises InputError: when shapes do not match.
    """
    shape = true_visible.shape
    if len(shape) != 2 or true_points.shape != (*shape, 2) or points.shape != (*shape, 2) or visible.shape != shape:
        raise InputError(
            f"tracks: expected (T, N, 2) points and (T, N) visibility, got {true_points.shape}, {true_visible.shape}, "
            f"{points.shape}, {visible.shape}"
        )
    query_frames = np.asarray(query_frames)
    if query_frames.shape != shape[1:]:
        raise InputError(f"query_frames: expected shape ({shape[1]},), got {query_frames.shape}")
    counts = np.arange(shape[0])[:, None] > query_frames
    seen, claimed = true_visible & counts, visible & counts
    error = np.linalg.norm((points - true_points) * (SIDE / np.asarray(image_size)), axis=2)
    within = error[..., None] < THRESHOLDS  # False for NaN
    positives = seen.sum()
    delta = (within & seen[..., None]).sum(axis=(0, 1)) / _or_nan(positives)
    true_positives = (within & (seen & claimed)[..., None]).sum(axis=(0, 1))
    false_positives = (claimed[..., None] & ~(within & seen[..., None])).sum(axis=(0, 1))
    union = positives + false_positives
    jaccard = true_positives / np.where(union > 0, union, np.nan)
    accuracy = ((visible == true_visible) & counts).sum() / _or_nan(counts.sum())
    return TapVidScores(
        delta_avg=float(delta.mean()),
        occlusion_accuracy=float(accuracy),
        average_jaccard=float(jaccard.mean()),
        delta=tuple(delta.tolist()),
        jaccard=tuple(jaccard.tolist()),
        seen=int(positives),
        pairs=int(counts.sum()),
    )


def _or_nan(count: np.integer) -> float:
    return float(count) if count else float("nan")
