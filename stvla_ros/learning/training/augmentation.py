"""Other pictures of the same scene.

Everything here is one OpenCV call a sample, on 8-bit pictures and in the calling thread: while a batch is prepared the
network trains on all cores, and a second team of threads would take more from it than it does itself.
"""

import cv2
import numpy as np

from stvla_ros.learning.training.config import AugmentationConfig

_GREY = np.array([0.299, 0.587, 0.114])  # luma of ITU-R BT.601


def augment(
    pictures: np.ndarray,
    depths: np.ndarray,
    intrinsics: np.ndarray,
    config: AugmentationConfig,
    random: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """
    :param pictures: (B, S, S, 3) uint8.
    :param depths: (B, S, S) float32 metres.
    :param intrinsics: (B, 3, 3) float32 in pixels of S x S.
    :returns: the same, changed. A zoom changes the focal lengths along, a shift the principal point, so that every
        point of the scene stays where it is in the camera's frame.
    """
    batch = len(pictures)
    if config.zoom or config.shift:
        scales = random.uniform(1.0 - config.zoom, 1.0 + config.zoom, batch)
        shifts = random.integers(-config.shift, config.shift, (batch, 2), endpoint=True)
        moved = [_move(*each) for each in zip(pictures, depths, scales, shifts, strict=True)]
        pictures, depths = (np.stack(parts) for parts in zip(*moved, strict=True))
        centre = pictures.shape[1] / 2
        intrinsics = intrinsics.copy()
        intrinsics[:, :2, :2] *= scales[:, None, None]
        intrinsics[:, :2, 2] = scales[:, None] * (intrinsics[:, :2, 2] - centre) + centre + shifts
    if config.colour:
        factors = random.uniform(1.0 - config.colour, 1.0 + config.colour, (batch, 3))
        pictures = np.stack([_recolour(*each) for each in zip(pictures, factors, strict=True)])
    if config.depth_noise:
        depths = depths * random.uniform(1.0 - config.depth_noise, 1.0 + config.depth_noise, (batch, 1, 1)).astype("f4")
    return pictures, depths, intrinsics


def _move(picture: np.ndarray, depth: np.ndarray, scale: float, shift: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Zoomed about the centre, then shifted. Depth takes the nearest pixel: between two surfaces there is nothing."""
    size = len(picture)
    # OpenCV's whole numbers are the pixels' centres, ours (of intrinsics) are half a pixel off.
    offset = scale * (0.5 - size / 2) + size / 2 - 0.5 + shift
    matrix = np.array([[scale, 0.0, offset[0]], [0.0, scale, offset[1]]])
    border = {"borderMode": cv2.BORDER_REPLICATE}
    return (
        cv2.warpAffine(picture, matrix, (size, size), flags=cv2.INTER_LINEAR, **border),
        cv2.warpAffine(depth, matrix, (size, size), flags=cv2.INTER_NEAREST, **border),
    )


def _recolour(picture: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """:param factors: brightness, contrast about the picture's mean grey, saturation."""
    brightness, contrast, saturation = factors
    mean = _GREY @ cv2.mean(picture)[:3]
    colours = saturation * np.eye(3) + (1.0 - saturation) * np.tile(_GREY, (3, 1))
    constant = np.full((3, 1), (1.0 - contrast) * mean)
    return cv2.transform(picture, brightness * np.hstack([contrast * colours, constant]))
