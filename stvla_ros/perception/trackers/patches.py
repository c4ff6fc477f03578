"""Small windows of a grey picture around points: which make good points, and how alike they are."""

import cv2
import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

CORNER_QUALITY = 0.01  # of the strongest corner's strength
MASK_MARGIN = 16  # px of picture around a mask, so that corners at its edge are judged as in the full picture
PATCH = 9  # px, side of a patch: smaller than the tracker's window, so that it lies on one surface
MIN_TEXTURE = 3.0  # grey levels of standard deviation, below which a patch has next to no texture
FLAT_DIFFERENCE = 20.0  # mean grey levels by which two patches without texture differ when they are not alike at all


def cut_patches(grey: np.ndarray, points: np.ndarray, side: int = PATCH) -> np.ndarray:
    """Bilinear ``side`` x ``side`` windows around sub-pixel points; outside the picture its border is repeated.

    :return: (N, side * side) float32.
    """
    if not len(points):
        return np.zeros((0, side * side), np.float32)
    offsets = np.arange(side, dtype=np.float32) - side // 2
    points = np.asarray(points, np.float32)
    maps = np.empty((2, len(points), side, side), np.float32)
    maps[0] = points[:, 0, None, None] + offsets
    maps[1] = points[:, 1, None, None] + offsets[:, None]
    x, y = maps.reshape(2, len(points) * side, side)
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


def search_patches(
    grey: np.ndarray,
    patches: np.ndarray,
    places: np.ndarray,
    radius: int,
) -> tuple[np.ndarray, np.ndarray]:
    """The places within ``radius`` pixels of ``places`` (N, 2) that look most like ``patches``, and how alike they are.

    :param patches: (N, PATCH * PATCH) with texture.
    :return: (N, 2) float32 pixels and (N,) normalised cross-correlation.
    """
    around = cut_patches(grey, places, 2 * radius + PATCH).reshape(len(places), 2 * radius + PATCH, -1)
    windows = sliding_window_view(around, (PATCH, PATCH), axis=(1, 2)).reshape(len(places), -1, PATCH * PATCH)
    patches = patches - patches.mean(axis=1, keepdims=True)
    area = PATCH * PATCH
    spread = np.einsum("nwp,nwp->nw", windows, windows) - windows.sum(axis=2) ** 2 / area
    power = np.maximum(spread, area * MIN_TEXTURE**2) * (patches * patches).sum(axis=1, keepdims=True)
    scores = (windows @ patches[:, :, None])[:, :, 0] / np.sqrt(power)
    best = scores.argmax(axis=1)
    rows, columns = np.divmod(best, 2 * radius + 1)
    found = places + np.stack([columns - radius, rows - radius], axis=1)
    found = np.clip(found, 0, (grey.shape[1] - 1, grey.shape[0] - 1)).astype(np.float32)
    return found, scores[np.arange(len(places)), best]


def find_corners(grey: np.ndarray, mask: np.ndarray, count: int, spacing: float) -> np.ndarray:
    """Up to ``count`` corners where ``mask`` is not 0, at least ``spacing`` pixels apart, the strongest first.

    They are looked for in the picture at half size, which costs a quarter: a start point need not be exact to the
    pixel.

    :return: (N, 2) float32 pixels.
    """
    x, y, width, height = cv2.boundingRect(mask)
    if not width:
        return np.zeros((0, 2), np.float32)
    # Only the part around the mask is looked at; from even pixels, so that the half-size pixels are the same.
    left, top = max(0, x - MASK_MARGIN) // 2 * 2, max(0, y - MASK_MARGIN) // 2 * 2
    part = np.s_[top : y + height + MASK_MARGIN, left : x + width + MASK_MARGIN]
    half = cv2.resize(grey[part], None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    half_mask = cv2.resize(mask[part], (half.shape[1], half.shape[0]), interpolation=cv2.INTER_NEAREST)
    corners = cv2.goodFeaturesToTrack(half, count, CORNER_QUALITY, spacing / 2, mask=half_mask, blockSize=3)
    if corners is None:
        return np.zeros((0, 2), np.float32)
    # The centre of a half-size pixel lies between four full-size ones.
    places = corners.reshape(-1, 2) * 2.0 + (left + 0.5, top + 0.5)
    return np.minimum(places, (grey.shape[1] - 1, grey.shape[0] - 1)).astype(np.float32)
