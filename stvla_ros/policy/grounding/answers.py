"""Reads boxes, points and paths from the text that a vision-language model wrote. Pure; accepts any text, also an
incomplete one.
"""

import re
from collections.abc import Iterator, Mapping

import numpy as np

from stvla_ros.policy.base import ANSWER
from stvla_ros.policy.grounding.places import BOX, LABEL, PATH, POINT, PictureMove, find_places
from stvla_ros.policy.thoughts import Boxes, Points, Thought

BOXES, POINTS, WAY = "boxes", "points", "way"
"""Names of the thoughts that are read from an answer."""
_KEY = re.compile(rf'"?({BOX}|{POINT}|{PATH})"?\s*:')
_LABEL = re.compile(rf'"{LABEL}"\s*:\s*"([^"]{{0,200}})"')
_MOST_PLACES = 256


def thoughts_of_answer(text: str, seen: int, rgb: np.ndarray) -> Mapping[str, Thought]:
    """The answer to a question about a picture, and what of it can be drawn there.

    :param text: answer, as for ``parse_answer``.
    :param seen: side of the picture that the model saw, pixels.
    :param rgb: (H, W, 3) picture of the camera.
    :returns: ``parse_answer``'s, and the text as ``ANSWER``.
    """
    return {ANSWER: text, **parse_answer(text, seen, (rgb.shape[1], rgb.shape[0]))}


def parse_answer(text: str, seen: int, size: tuple[int, int]) -> Mapping[str, Thought]:
    """Everything in an answer that can be drawn.

    Qwen2.5-VL's boxes and points are read with their labels, and paths in the format of ``places.py``. Any other four
    or two numbers in brackets are read, too. Damaged boxes and boxes without area are left out; whatever reaches beyond
    the picture is cut.

    :param text: the answer, with places in pixels of the picture as the model saw it.
    :param seen: side of that picture, pixels.
    :param size: (width, height) of the camera's picture, pixels.
    :returns: the thoughts ``BOXES``, ``POINTS`` and ``WAY``, in pixels of the camera's picture; those that the answer
        lacks are left out.
    """
    scaled = PictureMove((0.0, 0.0, float(seen), float(seen)), size)
    boxes: list[tuple[np.ndarray, str]] = []
    points: list[tuple[np.ndarray, str]] = []
    way: list[np.ndarray] = []
    for key, numbers, label in _places(text):
        places = np.clip(scaled(np.array(numbers).reshape(-1, 2)), 0.0, size)
        if len(places) == 2:
            corners = np.concatenate([places.min(axis=0), places.max(axis=0)])
            if (corners[2:] > corners[:2]).all():
                boxes.append((corners, label))
        elif key == PATH:
            way.append(places[0])
        else:
            points.append((places[0], label))
    thoughts: dict[str, Thought] = {}
    if boxes:
        thoughts[BOXES] = Boxes(np.stack([each for each, _ in boxes]), tuple(label for _, label in boxes))
    if points:
        thoughts[POINTS] = Points(np.stack([each for each, _ in points]), tuple(label for _, label in points))
    if way:
        thoughts[WAY] = Points(np.stack(way), is_path=True)
    return thoughts


def _places(text: str) -> Iterator[tuple[str, list[float], str]]:
    """The key of each place, its numbers, and the label of the object that it is in; empty for none."""
    keys = [(found.end(), found.group(1)) for found in _KEY.finditer(text)]
    for number, (begin, end, numbers) in enumerate(find_places(text)):
        if number == _MOST_PLACES:
            return
        opened, closed = text.rfind("{", 0, begin), text.find("}", end)
        # In braces of its own, not after the braces of another object.
        inside = opened > text.rfind("}", 0, begin)
        label = _LABEL.search(text, opened, closed if closed >= 0 else len(text)) if inside else None
        known = [key for at, key in keys if opened < at <= begin] if inside else []
        yield known[-1] if known else "", numbers, label.group(1) if label else ""
