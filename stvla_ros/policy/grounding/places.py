"""Places in texts: where a vision-language model says that things are, and how these places move with the picture.

Qwen2.5-VL writes whole pixels of the picture as it sees it, from its upper left corner: boxes ``{"bbox_2d": [x0, y0,
x1, y1], "label": "plate"}`` and points ``{"point_2d": [x, y], "label": "plate"}``. A path is ``{"trajectory_2d": [[x,
y], …], "label": "gripper"}`` here (the published models' format for it is not known). In any text, four numbers in
brackets are a box, and two a point. So answers in other formats move with the picture, too.
"""

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

BOX, POINT, PATH, LABEL = "bbox_2d", "point_2d", "trajectory_2d", "label"
_NUMBER = r"\s*-?\d{1,6}(?:\.\d{1,9})?\s*"
_PLACE = re.compile(rf"\[({_NUMBER}(?:,{_NUMBER}){{3}})\]|\[({_NUMBER},{_NUMBER})\]|\(({_NUMBER},{_NUMBER})\)")
# Share of a box that must still be visible after a move.
_LEAST_SHOWN = 0.3
_SIDES = re.compile(r"\b(left|right|leftmost|rightmost)\b", re.IGNORECASE)


@dataclass(frozen=True)
class PictureMove:
    """A window of a picture becomes a picture of another size, mirrored or not.

    :param window: window x0, y0, x1, y1 in pixels of the picture, from its upper left corner.
    :param size: (width, height) of the new picture, pixels.
    :param mirrored: whether left and right change sides.
    """

    window: tuple[float, float, float, float]
    size: tuple[int, int]
    mirrored: bool = False

    def __call__(self, places: np.ndarray) -> np.ndarray:
        """:param places: (N, 2) x, y in pixels of the picture. :returns: (N, 2) in pixels of the new picture."""
        x0, y0, x1, y1 = self.window
        moved = (places - [x0, y0]) * [self.size[0] / (x1 - x0), self.size[1] / (y1 - y0)]
        if self.mirrored:
            moved[:, 0] = self.size[0] - moved[:, 0]
        return moved


def box_text(box: ArrayLike, label: str) -> str:
    """A box as Qwen2.5-VL writes it. :param box: x0, y0, x1, y1 in pixels."""
    return _named(BOX, _whole(box), label)


def point_text(point: ArrayLike, label: str) -> str:
    """A point as Qwen2.5-VL writes it. :param point: x, y in pixels."""
    return _named(POINT, _whole(point), label)


def path_text(points: ArrayLike, label: str) -> str:
    """A path through points, (N, 2) x, y in pixels."""
    return _named(PATH, [_whole(point) for point in np.asarray(points)], label)


def moved_text(text: str, move: PictureMove) -> str | None:
    """The text with all its places in the moved picture, in whole pixels.

    :returns: None where the text is no longer true: a point outside, a box that is hardly visible, left and right named
        in a mirrored picture.
    """
    if move.mirrored and _SIDES.search(text):
        return None
    parts, begin = [], 0
    for first, end, numbers in find_places(text):
        moved = _moved(numbers, move)
        if moved is None:
            return None
        parts += [text[begin : first + 1], ", ".join(map(str, moved)), text[end - 1]]
        begin = end
    return "".join([*parts, text[begin:]])


def find_places(text: str) -> Iterator[tuple[int, int, list[float]]]:
    """For each box (four numbers) or point (two) of a text: where it begins and ends, brackets included, and its
    numbers.
    """
    for found in _PLACE.finditer(text):
        numbers = next(group for group in found.groups() if group is not None)
        yield found.start(), found.end(), [float(each) for each in numbers.split(",")]


def first_outside(text: str, size: tuple[int, int]) -> str | None:
    """The first place of a text that lies outside a picture, or is a box without area.

    :param size: (width, height) of the picture, pixels.
    """
    for begin, end, numbers in find_places(text):
        limits = (len(numbers) // 2) * list(size)
        inside = all(0 <= number <= limit for number, limit in zip(numbers, limits, strict=True))
        if not inside or (len(numbers) == 4 and not (numbers[0] < numbers[2] and numbers[1] < numbers[3])):
            return text[begin:end]
    return None


def _moved(numbers: list[float], move: PictureMove) -> list[int] | None:
    """The numbers of a box or point after the move; None where it is outside."""
    places = move(np.array(numbers).reshape(-1, 2))
    size = np.array(move.size, dtype=np.float64)
    if len(places) == 1:
        # The far edges belong to the picture: rounding may bring a point that is inside onto them.
        return _whole(places[0]) if ((places >= 0) & (places <= size)).all() else None
    low, high = places.min(axis=0), places.max(axis=0)
    shown_low, shown_high = np.clip(low, 0, size), np.clip(high, 0, size)
    area = float(np.prod(high - low))
    if area <= 0 or float(np.prod(shown_high - shown_low)) < _LEAST_SHOWN * area:
        return None
    whole = _whole([*shown_low, *shown_high])
    return whole if whole[0] < whole[2] and whole[1] < whole[3] else None


def _whole(numbers: ArrayLike) -> list[int]:
    # Python's round would round halves to even numbers.
    return [math.floor(float(number) + 0.5) for number in np.asarray(numbers)]


def _named(key: str, value: list, label: str) -> str:
    return json.dumps({key: value, LABEL: label}, ensure_ascii=False)
