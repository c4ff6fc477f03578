"""Small windows of a grey picture around points: which make good points, and how alike they are."""

import cv2
import numpy as np

CORNER_QUALITY = 0.01  # of the strongest corner's strength
PATCH = 9  # px, side of a patch: smaller than the tracker's window, so that it lies on one surface
MIN_TEXTURE = 3.0  # grey levels of standard deviation, below which a patch has next to no texture
FLAT_DIFFERENCE = 20.0  # mean grey levels by which two patches without texture differ when they are not alike at all


def cut_patches(grey: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Bilinear ``PATCH`` x ``PATCH`` windows around sub-pixel points; outside the picture its border is repeated.

    :return: (N, PATCH * PATCH) float32.
    """
    offsets = np.arange(PATCH, dtype=np.float32) - PATCH // 2
    points = np.asarray(points, np.float32)
    x = points[:, 0, None, None] + offsets[None, None, :]
    y = points[:, 1, None, None] + offsets[None, :, None]
    shape = (len(points) * PATCH, PATCH)
    x = np.broadcast_to(x, (len(points), PATCH, PATCH)).reshape(shape)
    y = np.broadcast_to(y, (len(points), PATCH, PATCH)).reshape(shape)
    if not len(points):
        return np.zeros((0, PATCH * PATCH), np.float32)
    patches = cv2.remap(grey, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return patches.reshape(len(points), -1).astype(np.float32)


def similarity(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """How alike patches are, (N, M) each -> (N,) in -1..1.

    Normalised cross-correlation. Where one of the two has next to no texture that would compare noise; there it is 1
    less the mean difference in units of ``FLAT_DIFFERENCE`` grey levels.
    """
    difference = np.abs(a - b).mean(axis=1)
    a = a - a.mean(axis=1, keepdims=True)
    b = b - b.mean(axis=1, keepdims=True)
    spread_a, spread_b = (a * a).mean(axis=1), (b * b).mean(axis=1)
    flat = np.minimum(spread_a, spread_b) < MIN_TEXTURE**2
    correlation = (a * b).mean(axis=1) / np.sqrt(np.where(flat, 1.0, spread_a * spread_b))
    return np.where(flat, np.maximum(-1.0, 1.0 - difference / FLAT_DIFFERENCE), correlation)


def search_patch(grey: np.ndarray, patch: np.ndarray, place: np.ndarray, radius: int) -> tuple[np.ndarray, float]:
    """The place within ``radius`` pixels of ``place`` that looks most like ``patch``, and how alike it is."""
    side = 2 * radius + PATCH
    around = cv2.getRectSubPix(grey, (side, side), (float(place[0]), float(place[1])))
    scores = cv2.matchTemplate(around, patch.reshape(PATCH, PATCH).astype(np.uint8), cv2.TM_CCOEFF_NORMED)
    _, best, _, (x, y) = cv2.minMaxLoc(scores)
    return np.clip(place + (x - radius, y - radius), 0, (grey.shape[1] - 1, grey.shape[0] - 1)), best


def find_corners(grey: np.ndarray, mask: np.ndarray, count: int, spacing: float) -> np.ndarray:
    """Up to ``count`` corners where ``mask`` is not 0, at least ``spacing`` pixels apart, the strongest first.

    They are looked for in the picture at half size, which costs a quarter: a start point need not be exact to the
    pixel.

    :return: (N, 2) float32 pixels.
    """
    half = cv2.resize(grey, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    half_mask = cv2.resize(mask, (half.shape[1], half.shape[0]), interpolation=cv2.INTER_NEAREST)
    corners = cv2.goodFeaturesToTrack(half, count, CORNER_QUALITY, spacing / 2, mask=half_mask, blockSize=3)
    if corners is None:
        return np.zeros((0, 2), np.float32)
    # The centre of a half-size pixel lies between four full-size ones.
    return np.minimum(corners.reshape(-1, 2) * 2.0 + 0.5, (grey.shape[1] - 1, grey.shape[0] - 1)).astype(np.float32)
