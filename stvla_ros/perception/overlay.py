"""Pictures for people: traces on the picture, depth in colours with a scale in metres, and all side by side with a
caption.

All pictures are (H, W, 3) uint8 rgb. Text is drawn in ASCII: OpenCV's stroke fonts have nothing else.
"""

import colorsys

import cv2
import numpy as np

from stvla_ros.errors import InputError
from stvla_ros.perception.compositor import check_traces, seen_inside
from stvla_ros.perception.types import Traces, check_rgb

_GOLDEN_RATIO = 0.618033988749895  # its multiples modulo 1 spread hues evenly however many ids there are
_SHIFT = 4  # fractional bits of sub-pixel coordinates


def trace_colour(point_id: int) -> tuple[int, int, int]:
    """A hue of its own for each point id, rgb; saturated so that it stands out from wood, cloth and metal."""
    red, green, blue = colorsys.hsv_to_rgb(point_id * _GOLDEN_RATIO % 1.0, 0.85, 1.0)
    return round(255 * red), round(255 * green), round(255 * blue)


def draw_traces(rgb: np.ndarray, traces: Traces, width: float = 0.006) -> np.ndarray:
    """Traces over the picture: one hue per point, dark and faint where old, bright where new, a dot where the point
    is now.

    :param rgb: (H, W, 3) uint8, the newest frame; stays as it is.
    :param traces: with pixels of ``rgb``.
    :param width: line width as a share of the picture's height.
    :returns: new (H, W, 3) uint8 rgb.
    :raises InputError: when the picture cannot be used or is not the one that was traced.
    """
    check_rgb(rgb)
    check_traces(traces)
    height, picture_width = rgb.shape[:2]
    if (picture_width, height) != tuple(traces.image_size):
        raise InputError(
            f"image: expected the traced image's size {traces.image_size[0]}x{traces.image_size[1]}, "
            f"got {picture_width}x{height}"
        )
    seen = seen_inside(traces)
    lines = rgb.copy()
    thickness = max(1, round(width * height))
    colours = np.array([trace_colour(point_id) for point_id in traces.ids.tolist()]).reshape(-1, 3)
    fixed = np.zeros(traces.points.shape, np.int32)
    fixed[seen] = np.round(traces.points[seen] * 2**_SHIFT)
    frames = len(fixed)
    for row in range(frames - 1):  # oldest first, so that what is new lies on top
        age = (row + 1) / (frames - 1)
        for column in np.nonzero(seen[row] & seen[row + 1])[0]:
            colour = (colours[column] * (0.35 + 0.65 * age)).tolist()
            cv2.line(
                lines,
                fixed[row, column].tolist(),
                fixed[row + 1, column].tolist(),
                colour,
                thickness,
                cv2.LINE_AA,
                _SHIFT,
            )
        if row % 4 == 3:  # let what is older fade into the picture
            lines = cv2.addWeighted(lines, 0.93, rgb, 0.07, 0)
    for column in np.nonzero(seen[-1])[0]:
        centre, radius = fixed[-1, column].tolist(), round((thickness * 0.9 + 1) * 2**_SHIFT)
        cv2.circle(lines, centre, radius + 2**_SHIFT, (255, 255, 255), cv2.FILLED, cv2.LINE_AA, _SHIFT)
        cv2.circle(lines, centre, radius, colours[column].tolist(), cv2.FILLED, cv2.LINE_AA, _SHIFT)
    return lines
