"""Pictures for people: traces, boxes, points and insets, drawn over the camera's picture.

All pictures are (H, W, 3) uint8 rgb. Text is ASCII: OpenCV's stroke fonts have nothing else.
"""

import colorsys
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from stvla_ros.errors import InputError
from stvla_ros.perception.compositor import check_traces
from stvla_ros.perception.point_depths import seen_inside
from stvla_ros.perception.types import Traces, check_rgb

_GOLDEN_RATIO = 0.618033988749895  # its multiples modulo 1 spread hues evenly however many ids there are
_FONT = cv2.FONT_HERSHEY_DUPLEX
_PLATE = (22, 23, 28)
_TEXT = 0.028  # height of a label, share of the picture's
_INSET = 0.28  # width of a picture in the picture, share of it
_SHIFT = 4  # fractional bits of sub-pixel coordinates


def trace_colour(point_id: int) -> tuple[int, int, int]:
    """A hue of its own for each point id, rgb; saturated so that it stands out from wood, cloth and metal."""
    red, green, blue = colorsys.hsv_to_rgb(point_id * _GOLDEN_RATIO % 1.0, 0.85, 1.0)
    return round(255 * red), round(255 * green), round(255 * blue)


def draw_traces(rgb: np.ndarray, traces: Traces, width: float = 0.006) -> np.ndarray:
    """Traces over the picture: one hue per point, dark and faint where old, bright where new, a dot where the point
    is now.

    :param rgb: (H, W, 3) uint8, the newest frame; it stays unchanged.
    :param traces: traces in pixels of ``rgb``.
    :param width: line width as a share of the picture's height.
    :returns: new (H, W, 3) uint8 rgb.
    :raises InputError: when the picture cannot be used, or is not the one that was traced.
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
    for row in range(frames - 1):  # oldest first, so that newer strokes lie on top
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
        if row % 4 == 3:  # let older strokes fade into the picture
            lines = cv2.addWeighted(lines, 0.93, rgb, 0.07, 0)
    for column in np.nonzero(seen[-1])[0]:
        centre, radius = fixed[-1, column].tolist(), round((thickness * 0.9 + 1) * 2**_SHIFT)
        cv2.circle(lines, centre, radius + 2**_SHIFT, (255, 255, 255), cv2.FILLED, cv2.LINE_AA, _SHIFT)
        cv2.circle(lines, centre, radius, colours[column].tolist(), cv2.FILLED, cv2.LINE_AA, _SHIFT)
    return lines


class DrawnOver:
    """The difference between a picture and the same picture with drawings, to be drawn over others of its size.

    :param clean: (H, W, 3) uint8, the picture without drawings.
    :param drawn: (H, W, 3) uint8, the same picture with drawings.
    :raises InputError: when the two differ in shape.
    """

    def __init__(self, clean: np.ndarray, drawn: np.ndarray) -> None:
        if clean.shape != drawn.shape:
            raise InputError(f"thoughts: expected the image's shape {clean.shape}, got {drawn.shape}")
        self._pixels = (clean != drawn).any(axis=2)
        self._colours = drawn[self._pixels]

    def over(self, picture: np.ndarray) -> np.ndarray:
        """:returns: new (H, W, 3) uint8; the picture itself if it has another size."""
        if picture.shape[:2] != self._pixels.shape:
            return picture
        result = picture.copy()
        result[self._pixels] = self._colours
        return result


def draw_boxes(picture: np.ndarray, corners: np.ndarray, labels: Sequence[str], colour: tuple[int, int, int]) -> None:
    """Boxes with their labels, drawn into the picture.

    :param picture: (H, W, 3) uint8 rgb.
    :param corners: (N, 4) x0, y0, x1, y1, pixels of the picture; may reach beyond it.
    :param labels: text of each box; empty for none.
    :param colour: colour of all, rgb.
    """
    for index, (x0, y0, x1, y1) in enumerate(_drawable(corners, picture)):
        cv2.rectangle(picture, (x0, y0), (x1, y1), colour, _thickness(picture), cv2.LINE_8)
        if labels and labels[index]:
            draw_label(picture, labels[index], (min(x0, x1), min(y0, y1)), colour)


def draw_points(
    picture: np.ndarray,
    places: np.ndarray,
    labels: Sequence[str],
    colour: tuple[int, int, int],
    is_path: bool = False,
) -> None:
    """Points with their labels, drawn into the picture; a path is joined by lines.

    :param places: (N, 2) x, y, pixels of the picture.
    :param is_path: whether the points follow one another.
    """
    drawable = _drawable(places, picture)
    if is_path and len(drawable) > 1:
        cv2.polylines(picture, [np.array(drawable, np.int32)], False, colour, _thickness(picture), cv2.LINE_AA)
    for index, place in enumerate(drawable):
        cv2.circle(picture, place, 2 * _thickness(picture) + 1, (255, 255, 255), cv2.FILLED, cv2.LINE_AA)
        cv2.circle(picture, place, 2 * _thickness(picture), colour, cv2.FILLED, cv2.LINE_AA)
        if labels and labels[index]:
            draw_label(picture, labels[index], place, colour)


def draw_label(picture: np.ndarray, text: str, corner: tuple[int, int], colour: tuple[int, int, int]) -> None:
    """One line of text on a dark plate that lies inside the picture.

    :param corner: x, y of the plate's lower left corner, if there is room for it.
    :param colour: colour of the text, rgb.
    """
    height, width = picture.shape[:2]
    scale = cv2.getFontScaleFromHeight(_FONT, max(round(_TEXT * height), 7), 1)
    text = text.encode("ascii", "replace").decode()
    while text and cv2.getTextSize(text, _FONT, scale, 1)[0][0] + 4 > width:
        text = text[:-1]
    (text_width, text_height), below = cv2.getTextSize(text, _FONT, scale, 1)
    left = int(np.clip(corner[0], 0, max(width - text_width - 4, 0)))
    bottom = int(np.clip(corner[1], text_height + below + 2, height - 1))
    cv2.rectangle(
        picture, (left, bottom - text_height - below - 2), (left + text_width + 4, bottom), _PLATE, cv2.FILLED
    )
    cv2.putText(picture, text, (left + 2, bottom - below), _FONT, scale, colour, 1, cv2.LINE_AA)


def draw_inset(picture: np.ndarray, inset: np.ndarray, number: int, title: str) -> None:
    """Another picture, small, in the upper right corner of this one; the next ones to its left.

    :param inset: (h, w, 3) uint8 rgb.
    :param number: number of insets that the picture has already.
    """
    height, width = picture.shape[:2]
    size = (max(round(_INSET * width), 1), max(round(_INSET * width * inset.shape[0] / inset.shape[1]), 1))
    left = width - (number + 1) * (size[0] + 2)
    if left < 0 or size[1] + 2 > height:
        return  # no room
    picture[: size[1] + 2, left : left + size[0] + 2] = 255
    picture[1 : size[1] + 1, left + 1 : left + size[0] + 1] = cv2.resize(inset, size, interpolation=cv2.INTER_AREA)
    draw_label(picture, title, (left + 1, size[1]), (255, 255, 255))


def _thickness(picture: np.ndarray) -> int:
    return max(1, round(0.006 * picture.shape[0]))


def _drawable(places: np.ndarray, picture: np.ndarray) -> list[tuple[Any, ...]]:
    """Whole pixels; places far outside are moved to where OpenCV's integers still suffice."""
    most = 4 * max(picture.shape[:2])
    return [tuple(row) for row in np.round(np.clip(places, -most, most)).astype(int).tolist()]
