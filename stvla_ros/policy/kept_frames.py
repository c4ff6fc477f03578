"""The arrays in which training keeps what a camera saw, for the preparations of several families. Uses no torch."""

from collections.abc import Mapping

import numpy as np

from stvla_ros.policy.pictures import prepare_picture
from stvla_ros.policy.samples import Augmentation, Samples

PICTURES, DEPTHS, INTRINSICS = "pictures", "depths", "intrinsics"


def picture_array(size: int) -> Mapping[str, tuple[tuple[int, ...], type]]:
    """Shape and type of a picture, as ``Preparation.arrays``.

    :param size: side of the picture, S, pixels.
    """
    return {PICTURES: ((size, size, 3), np.uint8)}


def frame_arrays(size: int) -> Mapping[str, tuple[tuple[int, ...], type]]:
    """Shapes and types of a picture, its depth map and its intrinsics, as ``Preparation.arrays``.

    :param size: side of picture and depth map, S, pixels.
    """
    return {**picture_array(size), DEPTHS: ((size, size), np.float16), INTRINSICS: ((3, 3), np.float32)}


def keep_picture(rgb: np.ndarray, size: int, resize: str) -> Mapping[str, np.ndarray]:
    """The array of a picture; parameters and errors as of ``prepare_picture``."""
    prepared = prepare_picture(rgb, size, resize)
    return {PICTURES: np.round(255.0 * prepared.transpose(1, 2, 0)).astype(np.uint8)}


def seen_frames(
    samples: Samples, indices: np.ndarray, augmentation: Augmentation | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Kept frames, augmented.

    :returns: pictures (N, S, S, 3) uint8, depth maps (N, S, S) float32 and intrinsics (N, 3, 3) float32.
    """
    kept = samples.prepared
    found = kept[PICTURES][indices], kept[DEPTHS][indices].astype(np.float32), kept[INTRINSICS][indices]
    return found if augmentation is None else augmentation(*found)


def as_pixels(pictures: np.ndarray) -> np.ndarray:
    """(N, S, S, 3) uint8 as (N, 3, S, S) float32, 0 to 1."""
    return np.ascontiguousarray(pictures.transpose(0, 3, 1, 2)).astype(np.float32) / np.float32(255.0)
