"""Where a lost point may be, judged by the points that were found."""

import cv2
import numpy as np

from stvla_ros.perception.trackers.patches import lengths

NEIGHBOURS = 5  # moving points that say together where a lost one went


def carried_along(lost: np.ndarray, before: np.ndarray, after: np.ndarray, min_step: float) -> np.ndarray:
    """Where lost points may be now, judged by those that were found.

    :param lost: (L, 2) where the lost points were in the last frame.
    :param before: (M, 2) where the found points were; ``after``: where they are now.
    :param min_step: pixels; what moved less stands still.
    :return: (P, L, 2) places, P = 1 to 3: where it was; moved as its moving neighbours; moved with all that moves as
        one rigid body.
    """
    step = after - before
    moving = lengths(step) >= min_step
    places = [lost]
    if moving.sum() >= NEIGHBOURS:
        before, after, step = before[moving], after[moving], step[moving]
        distance = lengths(lost[:, None] - before[None])
        nearest = np.argpartition(distance, NEIGHBOURS - 1, axis=1)[:, :NEIGHBOURS]
        median = np.partition(step[nearest], NEIGHBOURS // 2, axis=1)[:, NEIGHBOURS // 2]
        places.append(lost + median)
        rigid, _ = cv2.estimateAffinePartial2D(before, after, method=cv2.RANSAC, ransacReprojThreshold=3.0)
        if rigid is not None:
            places.append(lost @ rigid[:, :2].T + rigid[:, 2])
    return np.stack(places).astype(np.float32)


def carried(points: np.ndarray, before: np.ndarray, after: np.ndarray, min_step: float) -> np.ndarray:
    """(N,) bool: points all of whose nearest found points moved; parameters as in ``carried_along``."""
    if len(before) < NEIGHBOURS:
        return np.zeros(len(points), bool)
    moving = lengths(after - before) >= min_step
    distance = lengths(points[:, None] - before[None])
    nearest = np.argpartition(distance, NEIGHBOURS - 1, axis=1)[:, :NEIGHBOURS]
    return np.all(moving[nearest], axis=1)
