"""Guesses the places of lost points from the points that were found."""

import cv2
import numpy as np

from stvla_ros.perception.trackers.patches import lengths

NEIGHBOURS = 5  # number of moving points that together tell where a lost one went


def carried_along(lost: np.ndarray, before: np.ndarray, after: np.ndarray, min_step: float) -> np.ndarray:
    """Possible places of lost points, judged by the points that were found.

    :param lost: (L, 2) places of the lost points in the last frame.
    :param before: (M, 2) places of the found points in the last frame; ``after``: their places now.
    :param min_step: least motion in pixels; points that moved less stand still.
    :return: (P, L, 2) places, P = 1 to 3: the last place; moved like the point's moving neighbours; moved with all
        moving points as one rigid body.
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
    """(N,) bool: points whose nearest found points all moved. For the parameters see ``carried_along``."""
    if len(before) < NEIGHBOURS:
        return np.zeros(len(points), bool)
    moving = lengths(after - before) >= min_step
    distance = lengths(points[:, None] - before[None])
    nearest = np.argpartition(distance, NEIGHBOURS - 1, axis=1)[:, :NEIGHBOURS]
    return np.all(moving[nearest], axis=1)
