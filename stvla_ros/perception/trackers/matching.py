"""Follows points from one picture into another and back again."""

from typing import Any

import cv2
import numpy as np

from stvla_ros.perception.trackers.patches import Patches, lengths, similarity

CRITERIA = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 15, 0.03)
NEAR_LEVELS = 1  # pyramid levels of a search near a guess
STOOD, UNCHANGED = 0.5, 0.9  # px and similarity: a textured point that moved less and looks more alike stood still


def match(
    start: np.ndarray,
    end: np.ndarray,
    points: np.ndarray,
    guess: np.ndarray | None = None,
    before: Patches | None = None,
    *,
    window: int,
    levels: int,
    max_return_error: float,
    min_similarity: float,
) -> tuple[np.ndarray, np.ndarray, Patches]:
    """Follow points from one picture into another by pyramidal Lucas-Kanade, and back.

    Points that stood still are not followed back: they would return to the same place.

    :param start: (H, W) uint8; ``end``: the other picture, of the same size.
    :param points: (N, 2) float32 pixels of ``start``.
    :param guess: (N, 2) starts of the search, which then stays near them. None searches widely around ``points``.
    :param before: patches of ``start`` around ``points``, if they are known.
    :param window: side of the matched window, pixels; ``levels``: pyramid levels above the full picture.
    :param max_return_error: largest distance between a point and its place after following it there and back, pixels.
    :param min_similarity: least similarity (``patches.py``) of a point's patches in the two pictures.
    :return: places where they end (N, 2); whether the way there and back agree and the patches look alike (N,); and the
        patches at the end.
    """
    if not len(points):
        return points.copy(), np.zeros(0, bool), Patches.around(end, points)
    height, width = start.shape
    levels = levels if guess is None else min(NEAR_LEVELS, levels)
    there, found = _flow(start, end, points, guess, window, levels)
    inside = ((there >= 0) & (there <= (width - 1, height - 1))).all(axis=1)
    before = Patches.around(start, points) if before is None else before
    after = Patches.around(end, there)
    alike = similarity(before, after)
    good = found & inside & (alike >= min_similarity)
    stood = (lengths(there - points) < STOOD) & (alike >= UNCHANGED)
    stood &= ~before.flat
    rows = np.flatnonzero(good & ~stood)
    if len(rows):
        returned = None if guess is None else there[rows] + points[rows] - guess[rows]
        back, found = _flow(end, start, there[rows], returned, window, levels)
        good[rows] = found & (lengths(back - points[rows]) <= max_return_error)
    return there, good, after


def _flow(
    start: np.ndarray,
    end: np.ndarray,
    points: np.ndarray,
    guess: np.ndarray | None,
    window: int,
    levels: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Lucas-Kanade one way, in the relevant part of the pictures only: building pyramids is half of its cost.

    :return: where the points end (N, 2) and whether they were found (N,).
    """
    height, width = start.shape
    grid, margin = 2**levels, window * 2**levels  # twice the largest step
    all_points = points if guess is None else np.concatenate([points, guess])
    (left, top), (right, bottom) = all_points.min(axis=0).tolist(), all_points.max(axis=0).tolist()
    # Cut on the coarsest level's grid, so that the pyramids have the same pixels as those of the full pictures.
    left, top = (max(0, int(least) - margin) // grid * grid for least in (left, top))
    part = np.s_[top : min(height, int(bottom) + margin), left : min(width, int(right) + margin)]
    options: dict[str, Any] = {"winSize": (window, window), "maxLevel": levels, "criteria": CRITERIA}
    offset = np.array([left, top], np.float32)
    if guess is None:
        there, found, _ = cv2.calcOpticalFlowPyrLK(start[part], end[part], points - offset, None, **options)
    else:
        there, found, _ = cv2.calcOpticalFlowPyrLK(
            start[part],
            end[part],
            points - offset,
            (guess - offset).astype(np.float32),
            flags=cv2.OPTFLOW_USE_INITIAL_FLOW,
            **options,
        )
    return there + offset, found.ravel() == 1
