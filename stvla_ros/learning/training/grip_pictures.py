"""Pictures of a few episodes in which the gripper closes and opens, for a look before training: a reversed convention
is obvious there, and invisible in the numbers.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import cast

import cv2
import numpy as np

from stvla_ros.errors import InputError
from stvla_ros.learning.datasets.demonstration import Demonstration
from stvla_ros.learning.training.selection import Selection
from stvla_ros.perception.lettering import BACKGROUND, FAINT, INK, draw_text

FILE = "gripper.png"
_EPISODES = 3
# Data sets may differ in their conventions, so each gets an episode, up to this number.
_MOST_EPISODES = 6
_WIDTH, _GAP, _TEXT = 240, 6, 13
_ROW_TEXT, _LABEL = 2 * _TEXT + 10, _TEXT + 10
# Time between the frame in which it changes and the frames before and after, seconds.
_BESIDE_S = 1.0
_OPEN = 0.5


def write_grip_pictures(folder: Path, selections: Sequence[Selection]) -> Path:
    """A row of pictures for each of a few episodes: before the gripper closes, as it closes, after it, as it opens.

    :returns: the file.
    :raises InputError: for data that cannot be read, or a place that cannot be written.
    """
    rows = [_row(selection, number) for selection, number in _sampled(selections)]
    width = max(row.shape[1] for row in rows)
    rows = [
        cv2.copyMakeBorder(row, 0, 0, 0, width - row.shape[1], cv2.BORDER_CONSTANT, value=BACKGROUND) for row in rows
    ]
    file = folder / FILE
    if not cv2.imwrite(str(file), np.vstack(rows)[..., ::-1]):
        raise InputError(f"{file}: expected a file that can be written")
    return file


def _sampled(selections: Sequence[Selection]) -> Iterator[tuple[Selection, int]]:
    """Episodes spread over the data sets, and within each over its episodes."""
    chosen = selections[:_MOST_EPISODES]
    counts = [len(part) for part in np.array_split(np.arange(max(_EPISODES, len(chosen))), len(chosen))]
    for selection, count in zip(chosen, counts, strict=True):
        places = np.linspace(0, len(selection.numbers) - 1, count + 2)[1:-1] if count > 1 else [0]
        for place in dict.fromkeys(np.round(places).astype(int).tolist()):
            yield selection, selection.numbers[place]


def moments(opening: np.ndarray, beside: int) -> list[tuple[str, int]]:
    """Names and indices of the frames to look at.

    :param opening: (T,) opening of each frame's action, 0 closed to 1 open.
    :param beside: number of frames before and after the one in which it closes.
    :returns: names and indices of frames; for an episode in which it never closes, its beginning, middle and end.
    """
    is_open = opening >= _OPEN
    last = len(opening) - 1
    closes = np.flatnonzero(is_open[:-1] & ~is_open[1:]) + 1
    if not len(closes):
        state = "open" if is_open.all() else "closed at the start"
        return [(f"{state}, frame", frame) for frame in dict.fromkeys((0, last // 2, last))]
    at = int(closes[0])
    found = [("before, frame", max(0, at - beside)), ("CLOSES, frame", at), ("after, frame", min(last, at + beside))]
    opens = np.flatnonzero(is_open[at:])
    return [*found, ("OPENS, frame", at + int(opens[0]))] if len(opens) else [*found, ("end, frame", last)]


def _row(selection: Selection, number: int) -> np.ndarray:
    """(H, W, 3) uint8 rgb."""
    shown = cast(Demonstration, selection.reader.episode(number))  # what has actions
    opening = shown.action[:, 6]
    beside = max(1, round(_BESIDE_S * selection.reader.info.fps))
    cells = [
        _cell(shown.rgb[frame], f"{what} {frame}: {opening[frame]:.2f}") for what, frame in moments(opening, beside)
    ]
    row = np.hstack(cells)
    head = np.full((_ROW_TEXT, row.shape[1], 3), BACKGROUND, np.uint8)
    draw_text(head, f"{selection.reader.info.path.name}, episode {number}", (_GAP, _TEXT + 3), _TEXT - 3, FAINT)
    draw_text(head, shown.instruction, (_GAP, 2 * _TEXT + 5), _TEXT - 3, INK)
    return np.vstack([head, row])


def _cell(rgb: np.ndarray, label: str) -> np.ndarray:
    height = max(1, round(_WIDTH * rgb.shape[0] / rgb.shape[1]))
    picture = cv2.resize(rgb, (_WIDTH, height), interpolation=cv2.INTER_AREA)
    made = np.full((height + _LABEL + _GAP, _WIDTH + _GAP, 3), BACKGROUND, np.uint8)
    made[:height, :_WIDTH] = picture
    draw_text(made, label, (_GAP, height + _TEXT + 2), _TEXT - 4, INK)
    return made
