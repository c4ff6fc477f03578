"""Small windows of a grey picture around points: their texture, and how similar they are."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

PATCH = 9  # px, side of a patch: smaller than the tracker's window, so that it lies on one surface
MIN_TEXTURE = 3.0  # grey levels of standard deviation, below which a patch has almost no texture
FLAT_DIFFERENCE = 20.0  # mean grey levels by which two patches without texture differ when they are not alike at all


def cut_patches(grey: np.ndarray, points: np.ndarray, side: int = PATCH) -> np.ndarray:
    """Bilinear ``side`` x ``side`` windows around sub-pixel points; outside the picture its border is repeated.

    :return: (N, side * side) float32.
    """
    if not len(points):
        return np.zeros((0, side * side), np.float32)
    offsets = np.arange(side, dtype=np.float32) - side // 2
    x, y = np.asarray(points, np.float32).T
    maps = np.empty((2, len(points), side, side), np.float32)
    np.add(x[:, None, None], offsets, out=maps[0])
    np.add(y[:, None, None], offsets[:, None], out=maps[1])
    rows = maps.reshape(2, len(points) * side, side)
    patches = cv2.remap(grey, rows[0], rows[1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return patches.reshape(len(points), -1).astype(np.float32)


def within(points: np.ndarray, grey: np.ndarray) -> np.ndarray:
    """The points (..., 2), those outside the picture moved to its border."""
    return np.minimum(np.maximum(points, 0), (grey.shape[1] - 1, grey.shape[0] - 1))


def lengths(vectors: np.ndarray) -> np.ndarray:
    """Lengths (...) of vectors (..., 2), as np.linalg.norm computes them, which takes three times as long for a
    hundred.
    """
    squares = vectors * vectors
    return np.sqrt(squares[..., 0] + squares[..., 1])


@dataclass(frozen=True, eq=False)
class Patches:
    """Patches, with the numbers that comparing them needs. These are computed once, because each patch is compared
    several times.

    :param pixels: (..., M) float32 grey levels.
    :param centred: (..., M) grey levels less each patch's mean.
    :param spread: (...) mean square of ``centred``.
    """

    pixels: np.ndarray
    centred: np.ndarray
    spread: np.ndarray

    @classmethod
    def of(cls, pixels: np.ndarray) -> "Patches":
        centred = pixels - pixels.mean(axis=-1, keepdims=True)
        return cls(pixels, centred, (centred * centred).mean(axis=-1))

    @classmethod
    def around(cls, grey: np.ndarray, points: np.ndarray) -> "Patches":
        """Patches around the points (N, 2) in a picture."""
        return cls.of(cut_patches(grey, points))

    @property
    def flat(self) -> np.ndarray:
        """(...) bool: patches with almost no texture."""
        return np.sqrt(self.spread) < MIN_TEXTURE

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, rows: np.ndarray) -> "Patches":
        return Patches(self.pixels[rows], self.centred[rows], self.spread[rows])

    def put(self, rows: np.ndarray, others: "Patches") -> None:
        """Replace the patches with the indices ``rows``."""
        self.pixels[rows], self.centred[rows], self.spread[rows] = others.pixels, others.centred, others.spread

    def followed_by(self, others: "Patches") -> "Patches":
        parts = ("pixels", "centred", "spread")
        return Patches(*(np.concatenate([getattr(self, part), getattr(others, part)]) for part in parts))


def similarity(a: Patches, b: Patches) -> np.ndarray:
    """The similarity of patches, (N,) in -1..1. Shapes are broadcast.

    Normalised cross-correlation. If one of two patches has almost no texture, that would compare noise. The similarity
    is then 1 less the mean difference in units of ``FLAT_DIFFERENCE`` grey levels.
    """
    flat = np.minimum(a.spread, b.spread) < MIN_TEXTURE**2
    alike = (a.centred * b.centred).mean(axis=-1) / np.sqrt(np.where(flat, 1.0, a.spread * b.spread))
    if flat.any():
        pixels = np.broadcast_to(a.pixels, (*flat.shape, a.pixels.shape[-1]))[flat]
        difference = np.abs(pixels - np.broadcast_to(b.pixels, (*flat.shape, b.pixels.shape[-1]))[flat]).mean(axis=-1)
        alike[flat] = np.maximum(-1.0, 1.0 - difference / FLAT_DIFFERENCE)
    return alike


def search_patches(
    grey: np.ndarray,
    patches: Patches,
    places: np.ndarray,
    radius: int,
) -> tuple[np.ndarray, np.ndarray]:
    """The places within ``radius`` pixels of ``places`` (N, 2) that look most like ``patches``, and how alike they are.

    :param patches: N of PATCH * PATCH pixels, with texture.
    :return: (N, 2) float32 pixels and (N,) normalised cross-correlation.
    """
    around = cut_patches(grey, places, 2 * radius + PATCH).reshape(len(places), 2 * radius + PATCH, -1)
    windows = sliding_window_view(around, (PATCH, PATCH), axis=(1, 2)).reshape(len(places), -1, PATCH * PATCH)
    wanted = patches.centred
    area = PATCH * PATCH
    spread = np.einsum("nwp,nwp->nw", windows, windows) - windows.sum(axis=2) ** 2 / area
    power = np.maximum(spread, area * MIN_TEXTURE**2) * (wanted * wanted).sum(axis=1, keepdims=True)
    scores = (windows @ wanted[:, :, None])[:, :, 0] / np.sqrt(power)
    best = scores.argmax(axis=1)
    rows, columns = np.divmod(best, 2 * radius + 1)
    found = places + np.stack([columns - radius, rows - radius], axis=1)
    return within(found, grey).astype(np.float32), scores[np.arange(len(places)), best]
