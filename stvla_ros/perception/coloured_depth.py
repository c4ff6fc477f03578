"""Depth as a picture for people: near is bright, far is dark, with a scale in metres."""

import cv2
import numpy as np

from stvla_ros.errors import InputError
from stvla_ros.perception.lettering import BACKGROUND, INK, draw_text, text_width

_UNKNOWN = (52, 54, 60)
# Far to near, rgb. Inferno: brightness alone tells near from far, also in print. A table of our own, because
# applyColorMap takes milliseconds to build its table at every call.
_COLOURS = np.ascontiguousarray(cv2.applyColorMap(np.arange(256, dtype=np.uint8), cv2.COLORMAP_INFERNO)[:, 0, ::-1])


def depth_range(depth: np.ndarray) -> tuple[float, float]:
    """Nearest and farthest depth worth showing: percentiles 0.5 and 99.5 of the valid ones, metres.

    At least 5 cm apart; (0, 1) where no depth is valid.
    """
    valid = depth[np.isfinite(depth) & (depth > 0)]
    if valid.size == 0:
        return 0.0, 1.0
    near, far = np.percentile(valid, [0.5, 99.5]).tolist()
    return near, max(far, near + 0.05)


class WideningRange:
    """Colour range of a video: as wide as any frame so far required, so that nothing saturates and nothing flickers."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """A new video starts."""
        self._near_far: tuple[float, float] | None = None

    def update(self, depth: np.ndarray) -> tuple[float, float]:
        """
        :param depth: (H, W) float32 metres of the next frame, 0 or not finite where unknown.
        :returns: metres at the two ends of the colours, for ``colour_depth``.
        """
        if not (np.isfinite(depth) & (depth > 0)).any():
            return self._near_far or depth_range(depth)
        near, far = depth_range(depth)
        if self._near_far is not None:
            near, far = min(near, self._near_far[0]), max(far, self._near_far[1])
        self._near_far = (near, far)
        return near, far


def colour_depth(
    depth: np.ndarray, size: tuple[int, int], near_far: tuple[float, float] | None = None, scale: bool = True
) -> np.ndarray:
    """Depth in colours, near is bright and far is dark, unknown is grey.

    :param depth: (H, W) float32 metres, 0 or not finite where unknown.
    :param size: (width, height) of the picture. It is enlarged without smoothing, so that the true pixels show.
    :param near_far: metres at the ends of the colours; ``depth_range(depth)`` by default. Use a fixed range for a video
        that does not flicker.
    :param scale: whether a bar with metres is drawn into the lower right corner.
    :raises InputError: for another type or an empty range.
    """
    if depth.dtype != np.float32 or depth.ndim != 2 or depth.size == 0:
        raise InputError(
            f"depth: expected (height, width) float32 metres with at least one pixel, got {depth.shape} {depth.dtype}"
        )
    near, far = depth_range(depth) if near_far is None else near_far
    if not near < far:
        raise InputError(f"near_far: expected near < far in metres, got {near:g} and {far:g}")
    known = np.isfinite(depth) & (depth > 0)
    share = np.clip((far - np.where(known, depth, far)) / (far - near), 0, 1)
    colours = _COLOURS[np.round(255 * share).astype(np.uint8)]
    picture = cv2.resize(
        np.where(known[..., None], colours, np.array(_UNKNOWN, np.uint8)), size, interpolation=cv2.INTER_NEAREST_EXACT
    )
    return _with_scale(picture, near, far) if scale else picture


def _with_scale(picture: np.ndarray, near: float, far: float) -> np.ndarray:
    height, width = picture.shape[:2]
    unit = height / 360
    bar_height, bar_width, margin = round(0.32 * height), max(4, round(11 * unit)), round(12 * unit)
    text_height = round(10 * unit)
    label_width = round(6 * unit) + text_width(f"{far:.2f} m", text_height)
    left, top = width - margin - bar_width - label_width, height - margin - bar_height
    box = (slice(max(top - margin, 0), height), slice(max(left - margin, 0), width))
    picture = picture.copy()
    picture[box] = (0.35 * picture[box] + 0.65 * np.array(BACKGROUND)).astype(np.uint8)
    ramp = _COLOURS[np.linspace(255, 0, bar_height).astype(np.uint8)][:, None]
    picture[top : top + bar_height, left : left + bar_width] = ramp
    for share in (0.0, 0.5, 1.0):
        y = round(top + share * (bar_height - 1) + text_height / 2)
        draw_text(
            picture, f"{near + share * (far - near):.2f} m", (left + bar_width + round(6 * unit), y), text_height, INK
        )
    return picture
