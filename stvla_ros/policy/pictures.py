"""Turns camera picture and depth map into the model's inputs. Pure functions on arrays."""

import cv2
import numpy as np
from PIL import Image

from stvla_ros.errors import InputError
from stvla_ros.perception.compositor import resize_depth
from stvla_ros.perception.geometry import check_intrinsics, check_size
from stvla_ros.policy.inputs import RESIZE_METHODS

# bicubic: as the published processor; area: as the published evaluation in SimplerEnv.
FARTHEST = 10_000.0
CHANGED_COLOUR = 0.05
"""Difference of a colour, of 0 to 1, from which on a pixel counts as changed."""
CHANGED_DEPTH = 0.05
"""Share of the inverse depth, likewise."""


def prepare_picture(rgb: np.ndarray, size: int, method: str = "bicubic") -> np.ndarray:
    """
    :param rgb: (H, W, 3) uint8, any size; the two axes are scaled independently.
    :param method: one of ``RESIZE_METHODS``.
    :returns: (3, size, size) float32 in [0, 1].
    :raises InputError: for another type or shape, or a picture of less than 2 pixels a side.
    """
    check_picture(rgb)
    if method not in RESIZE_METHODS:
        raise InputError(f"resize: expected one of {', '.join(RESIZE_METHODS)}, got {method!r}")
    if rgb.shape[:2] != (size, size):
        if method == "area":
            rgb = cv2.resize(rgb, (size, size), interpolation=cv2.INTER_AREA)
        else:
            rgb = np.asarray(Image.fromarray(rgb).resize((size, size), Image.Resampling.BICUBIC))
    return np.ascontiguousarray(rgb.transpose(2, 0, 1)).astype(np.float32) / 255.0


def check_picture(rgb: np.ndarray) -> None:
    """:raises InputError: as ``prepare_picture`` for a picture."""
    if not isinstance(rgb, np.ndarray) or rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3:
        got = f"{rgb.shape} {rgb.dtype}" if isinstance(rgb, np.ndarray) else type(rgb).__name__
        raise InputError(f"rgb: expected a (height, width, 3) uint8 array, got {got}")
    if min(rgb.shape[:2]) < 2:
        raise InputError(f"rgb: expected at least 2x2 pixels, got {rgb.shape[1]}x{rgb.shape[0]}")


def prepare_depth(depth: np.ndarray, picture_size: tuple[int, int], size: int) -> np.ndarray:
    """
    :param depth: metres, (H, W) as the picture or already (size, size); 0 where unknown.
    :param picture_size: (width, height) of the picture that it is registered to.
    :returns: (size, size) float32 metres, every pixel positive. An unknown pixel takes the nearest known depth: the
        model averages over cells, and a 0 would be a surface at the lens.
    :raises InputError: for another shape or type, NaN, infinity, negative depths, one beyond ``FARTHEST``, or no known
        depth at all.
    """
    check_depth(depth, picture_size, size)
    depth = depth.astype(np.float32)
    if depth.shape != (size, size):
        depth = resize_depth(depth, size)
    return fill_unknown(depth)


def check_depth(depth: np.ndarray, picture_size: tuple[int, int], size: int) -> None:
    """
    :param depth: metres, (H, W) as the picture or (size, size); 0 where unknown.
    :param picture_size: (width, height) of the picture that it is registered to.
    :param size: side of a square map that may stand in for one like the picture.
    :raises InputError: as ``prepare_depth``, except where no depth is known.
    """
    if not isinstance(depth, np.ndarray) or not np.issubdtype(depth.dtype, np.floating):
        got = str(depth.dtype) if isinstance(depth, np.ndarray) else type(depth).__name__
        raise InputError(f"depth: expected an array of floating-point metres, got {got}")
    shapes = {(picture_size[1], picture_size[0]), (size, size)}
    if depth.shape not in shapes:
        raise InputError(f"depth: expected shape {' or '.join(map(str, sorted(shapes)))}, got {depth.shape}")
    if not np.isfinite(depth).all():
        raise InputError("depth: expected finite metres (0 where unknown), got NaN or infinity")
    if (depth < 0).any():
        raise InputError(f"depth: expected 0 (unknown) or positive metres, got {depth.min():g}")
    if (depth > FARTHEST).any():
        raise InputError(f"depth: expected at most {FARTHEST:g} metres, got {depth.max():g}")


def fill_unknown(depth: np.ndarray) -> np.ndarray:
    """
    :param depth: (S, S) float32 metres, 0 where unknown.
    :returns: the same map, with every unknown pixel at the depth of the nearest known one.
    :raises InputError: when no depth is known.
    """
    unknown = depth == 0
    if not unknown.any():
        return depth
    if unknown.all():
        raise InputError("depth: expected some known (positive) metres, all of it is 0")
    _, labels = cv2.distanceTransformWithLabels(
        unknown.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )
    by_label = np.zeros(labels.max() + 1, dtype=np.float32)
    by_label[labels[~unknown]] = depth[~unknown]
    return np.where(unknown, by_label[labels], depth)


def scale_intrinsics(intrinsics: np.ndarray, from_size: tuple[int, int], size: int) -> np.ndarray:
    """
    :param intrinsics: (3, 3) in pixels of a picture of ``from_size`` (width, height).
    :param size: side of the square picture after resizing; each axis has its own factor.
    :returns: (3, 3) float32.
    :raises InputError: as ``check_intrinsics``; a size that is not positive; numbers that float32 cannot hold.
    """
    width, height = check_size(from_size, "from_size")
    numbers = check_intrinsics(intrinsics)
    k = numbers * np.array([[size / width], [size / height], [1.0]])
    limits = np.finfo(np.float32)
    if np.abs(k).max() > limits.max or min(k[0, 0], k[1, 1]) < limits.tiny:
        raise InputError(f"intrinsics: expected focal lengths and centre in pixels, got {numbers.tolist()}")
    return k.astype(np.float32)
