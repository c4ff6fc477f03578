"""Other pictures of the same scene.

Everything here is a call or two of OpenCV or numpy for each sample, on 8-bit pictures and in the calling thread. The
network trains on all cores while a batch is prepared, and a second team of threads would slow it down by more than it
helps.
"""

import cv2
import numpy as np

from stvla_ros.learning.training.config_sections import AugmentationConfig
from stvla_ros.learning.training.textures import COUNT, textures

_GREY = np.array([0.299, 0.587, 0.114])  # luma of ITU-R BT.601


class DrawnAugmentation:
    """An ``Augmentation``: the random numbers for each sample of a batch.

    :param config: limits of the changes.
    :param batch: number B of samples.
    :param random: random numbers that the changes are drawn from.
    """

    def __init__(self, config: AugmentationConfig, batch: int, random: np.random.Generator) -> None:
        self._scales = self._shifts = self._factors = self._depth_scales = self._lights = self._textures = None
        if config.zoom or config.shift:
            self._scales = random.uniform(1.0 - config.zoom, 1.0 + config.zoom, batch)
            self._shifts = random.integers(-config.shift, config.shift, (batch, 2), endpoint=True)
        if config.colour:
            self._factors = random.uniform(1.0 - config.colour, 1.0 + config.colour, (batch, 3))
        if config.depth_noise:
            low, high = 1.0 - config.depth_noise, 1.0 + config.depth_noise
            self._depth_scales = random.uniform(low, high, (batch, 1, 1)).astype("f4")
        if config.light:
            self._lights = config.light * random.uniform(-1.0, 1.0, (batch, 6))
        if config.texture:
            self._textures = random.integers(COUNT, size=batch)
            self._opacities = random.uniform(0.0, config.texture, batch)

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
        if self._textures is not None:
            drawn = textures(pictures.shape[1])[self._textures]
            pictures = np.stack([_mix(*each) for each in zip(pictures, drawn, self._opacities, strict=True)])
        if self._factors is not None:
            pictures = np.stack([_recolour(*each) for each in zip(pictures, self._factors, strict=True)])
        if self._lights is not None:
            pictures = np.stack([_relight(*each) for each in zip(pictures, self._lights, strict=True)])
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


def _mix(picture: np.ndarray, texture: np.ndarray, opacity: float) -> np.ndarray:
    """Random overlay (SODA, arXiv 2011.13389): what is to be seen stays, what it lies on looks otherwise."""
    mixed: np.ndarray = cv2.addWeighted(picture, 1.0 - opacity, texture, opacity, 0.0)
    return mixed


def _relight(picture: np.ndarray, light: np.ndarray) -> np.ndarray:
    """Another lamp: its brightness, its colour (half as much), and where it stands (half as much to each edge).

    :param light: logarithms of factors: of brightness; of red, green and blue; of the right and the lower edge.
    """
    brightness, colour, (right, down) = light[0], light[1:4] / 2, light[4:] / 2
    size, along = len(picture), np.linspace(-1.0, 1.0, len(picture), dtype=np.float32)
    rows = np.exp(down * along, dtype=np.float32)
    columns = np.exp(right * along, dtype=np.float32)[:, None] * np.exp(brightness + colour).astype(np.float32)
    # OpenCV's product of 8-bit and float pictures takes ten times as long (3.6 ms).
    lit = picture.reshape(size, -1) * rows[:, None]
    lit *= columns.reshape(1, -1)
    return np.minimum(lit, 255.0, out=lit).astype(np.uint8).reshape(picture.shape)
