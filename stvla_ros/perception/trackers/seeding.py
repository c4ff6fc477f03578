"""Finds places for new points: corners where the picture changed, and areas without a point."""

import cv2
import numpy as np

CORNER_QUALITY = 0.01  # share of the strongest corner's strength
MASK_MARGIN = 16  # px of picture around a mask, so that corners at its edge are judged as in the full picture


def changed(grey: np.ndarray, before: np.ndarray, min_change: float) -> np.ndarray:
    """(H, W) uint8, 255 where two pictures differ by about ``min_change`` grey levels or more, else 0."""
    return (cv2.blur(cv2.absdiff(grey, before), (5, 5)) >= min_change / 2).astype(np.uint8) * 255


def empty_cells(size: tuple[int, int], points: np.ndarray, count: int) -> tuple[np.ndarray, int] | None:
    """The cells without a point, of a grid of about ``count`` square cells over the whole picture.

    :param size: height and width of the picture.
    :param points: (N, 2) pixels.
    :return: (height, width) uint8, 255 in these cells and 0 elsewhere, and the side of a cell in pixels; None if all
        have a point.
    """
    height, width = size
    cell = max(1, int(np.sqrt(height * width / max(1, count))))
    columns, rows = -(-width // cell), -(-height // cell)
    occupied = np.zeros((rows, columns), bool)
    where = np.minimum(np.maximum(points.astype(int) // cell, 0), (columns - 1, rows - 1))
    occupied[where[:, 1], where[:, 0]] = True
    if occupied.all():
        return None
    mask = cv2.resize((~occupied).astype(np.uint8) * 255, None, fx=cell, fy=cell, interpolation=cv2.INTER_NEAREST)
    return mask[:height, :width], cell


def find_corners(grey: np.ndarray, mask: np.ndarray, count: int, spacing: float) -> np.ndarray:
    """Up to ``count`` corners where ``mask`` is not 0, at least ``spacing`` pixels apart, the strongest first.

    The picture is searched at half size, which costs a quarter: a start point need not be exact to the pixel.

    :return: (N, 2) float32 pixels.
    """
    x, y, width, height = cv2.boundingRect(mask)
    if not width:
        return np.zeros((0, 2), np.float32)
    # Only the part around the mask is searched; it begins at even pixels, so that the half-size pixels are the same.
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
