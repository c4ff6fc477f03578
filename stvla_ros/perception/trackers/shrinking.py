"""Large pictures are tracked at a fraction of their size, which takes a fraction of the time.

A pixel of the smaller picture is the mean of ``share`` x ``share`` of the picture's own, so its centre lies between
theirs. Tracks of large motions become better, since a window covers more and reaches farther; tracks on small objects
become a little worse (``bench/tracker_accuracy.py``; 1440x1080 in docs/reference/results.md).
"""

import cv2
import numpy as np

MOST_PIXELS = 1280 * 720  # a larger picture is not tracked at its full size


def share_of(size: tuple[int, int]) -> int:
    """1, 2, 4, …: the factor by which a picture is made smaller. :param size: height and width, pixels."""
    share = 1
    while size[0] * size[1] > MOST_PIXELS * share**2:
        share *= 2
    return share


def shrunk(grey: np.ndarray, share: int) -> np.ndarray:
    """The picture (H, W) at 1 / ``share`` of its size; remaining pixels at the right and lower border are left out."""
    height, width = (side // share for side in grey.shape)
    return cv2.resize(grey[: height * share, : width * share], (width, height), interpolation=cv2.INTER_AREA)


def in_full(points: np.ndarray, share: int) -> np.ndarray:
    """Convert pixels (N, 2) of a picture that was made smaller to pixels of the picture itself."""
    return points if share == 1 else (points * share + (share - 1) / 2).astype(np.float32)


def in_shrunk(points: np.ndarray, share: int) -> np.ndarray:
    """The inverse of :func:`in_full`."""
    return points if share == 1 else ((points - (share - 1) / 2) / share).astype(np.float32)
