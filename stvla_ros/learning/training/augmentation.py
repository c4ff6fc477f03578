"""Other pictures of the same scene.

Everything here is one OpenCV call for each sample, on 8-bit pictures and in the calling thread. The network trains on
all cores while a batch is prepared, and a second team of threads would slow it down by more than it helps.
"""

import cv2
import numpy as np

from stvla_ros.learning.training.config import AugmentationConfig

_GREY = np.array([0.299, 0.587, 0.114])  # luma of ITU-R BT.601


class DrawnAugmentation:
    """An ``Augmentation``: the random numbers for each sample of a batch.

    :param config: limits of the changes.
    :param batch: number B of samples.
    :param random: random numbers that the changes are drawn from.
    """

    def __init__(self, config: AugmentationConfig, batch: int, random: np.random.Generator) -> None:
        self._scales = self._shifts = self._factors = self._depth_scales = None
        if config.zoom or config.shift:
            self._scales = random.uniform(1.0 - config.zoom, 1.0 + config.zoom, batch)
            self._shifts = random.integers(-config.shift, config.shift, (batch, 2), endpoint=True)
        if config.colour:
            self._factors = random.uniform(1.0 - config.colour, 1.0 + config.colour, (batch, 3))
        if config.depth_noise:
            low, high = 1.0 - config.depth_noise, 1.0 + config.depth_noise
            self._depth_scales = random.uniform(low, high, (batch, 1, 1)).astype("f4")

    def __call__(
        self, pictures: np.ndarray, depths: np.ndarray, intrinsics: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """A zoom also changes the focal lengths, and a shift the principal point, so that every point of the scene
        stays at its place in the camera's frame. For the parameters see ``Augmentation``.
        """
        if self._scales is not None:
            changes = zip(pictures, depths, self._scales, self._shifts, strict=True)
            pictures, depths = (np.stack(parts) for parts in zip(*(_move(*each) for each in changes), strict=True))
            centre = pictures.shape[1] / 2
            intrinsics = intrinsics.copy()
            intrinsics[:, :2, :2] *= self._scales[:, None, None]
            intrinsics[:, :2, 2] = self._scales[:, None] * (intrinsics[:, :2, 2] - centre) + centre + self._shifts
        if self._factors is not None:
            pictures = np.stack([_recolour(*each) for each in zip(pictures, self._factors, strict=True)])
        if self._depth_scales is not None:
            depths = depths * self._depth_scales
        return pictures, depths, intrinsics

    def move(self, places: np.ndarray, size: int) -> np.ndarray:
        """See ``Augmentation.move``."""
        if self._scales is None:
            return places
        centre = size / 2
        return self._scales[:, None, None] * (places - centre) + centre + self._shifts[:, None]


def _move(picture: np.ndarray, depth: np.ndarray, scale: float, shift: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Zoom about the centre, then shift. Depth takes the nearest pixel: a depth between two surfaces would be wrong."""
    size = len(picture)
    # OpenCV's whole numbers are the pixels' centres; ours (of intrinsics) are half a pixel off.
    offset = scale * (0.5 - size / 2) + size / 2 - 0.5 + shift
    matrix = np.array([[scale, 0.0, offset[0]], [0.0, scale, offset[1]]])
    border = {"borderMode": cv2.BORDER_REPLICATE}
    return (
        cv2.warpAffine(picture, matrix, (size, size), flags=cv2.INTER_LINEAR, **border),
        cv2.warpAffine(depth, matrix, (size, size), flags=cv2.INTER_NEAREST, **border),
    )


def _recolour(picture: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """:param factors: factors of brightness, contrast about the picture's mean grey, and saturation."""
    brightness, contrast, saturation = factors
    mean = _GREY @ cv2.mean(picture)[:3]
    colours = saturation * np.eye(3) + (1.0 - saturation) * np.tile(_GREY, (3, 1))
    constant = np.full((3, 1), (1.0 - contrast) * mean)
    return cv2.transform(picture, brightness * np.hstack([contrast * colours, constant]))
