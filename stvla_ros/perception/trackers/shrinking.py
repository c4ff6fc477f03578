"""Large pictures are tracked in at a share of their size, which costs a share of the time.

A pixel of the smaller picture is the mean of ``share`` x ``share`` of the picture's own, so its centre lies between
theirs. Tracks of what moves far are better for it, since a window sees more and reaches farther; those on small objects
are a little worse (``bench/tracker_accuracy.py``; 1440x1080 in the README's figures).
"""

import cv2
import numpy as np

MOST_PIXELS = 1280 * 720  # of a picture that is tracked in as it is


def share_of(size: tuple[int, int]) -> int:
    """1, 2, 4, …: by how much a picture is made smaller. :param size: height and width, pixels."""
    share = 1
    while size[0] * size[1] > MOST_PIXELS * share**2:
        share *= 2
    return share


def shrunk(grey: np.ndarray, share: int) -> np.ndarray:
    """The picture (H, W) at 1 / ``share`` of its size; what is left over at the right and lower border is not seen."""
    height, width = (side // share for side in grey.shape)
    return cv2.resize(grey[: height * share, : width * share], (width, height), interpolation=cv2.INTER_AREA)


def in_full(points: np.ndarray, share: int) -> np.ndarray:
    """Pixels (N, 2) of a picture that was made smaller, in those of the picture itself."""
    return points if share == 1 else (points * share + (share - 1) / 2).astype(np.float32)


def in_shrunk(points: np.ndarray, share: int) -> np.ndarray:
    """The inverse of :func:`in_full`."""
    return points if share == 1 else ((points - (share - 1) / 2) / share).astype(np.float32)
