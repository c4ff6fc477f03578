"""A board on a page of its own size, for a printer."""

import struct
import zlib
from pathlib import Path

import cv2
import numpy as np

from stvla_ros.atomic_files import make_folder, whole_file
from stvla_ros.errors import InputError
from stvla_ros.perception.boards import Board

# 305 dpi, and a whole number of dots a millimetre.
DOTS_PER_METRE = 12_000
_MARGIN_M, _BELOW_M, _RULERS_M = 0.010, 0.012, (0.1, 0.05, 0.02)
_LARGEST_M = 1.2
_PNG_BEGIN = 8 + 4 + 4 + 13 + 4  # signature, and the first chunk, IHDR


def page(board: Board) -> np.ndarray:
    """:returns: (H, W) uint8: the board with white around it, below it a ruler and what it is.

    :raises InputError: for a board that no printer prints.
    """
    if max(board.size) > _LARGEST_M:
        raise InputError(f"print_board: expected a board of up to {_LARGEST_M:g} m, got {max(board.size):g} m")
    picture = board.picture(DOTS_PER_METRE)
    margin, below = (round(each * DOTS_PER_METRE) for each in (_MARGIN_M, _BELOW_M))
    # A tag alone is small; its text is not.
    width = max(picture.shape[1], round(0.09 * DOTS_PER_METRE))
    made = np.full((picture.shape[0] + 2 * margin + below, width + 2 * margin), 255, np.uint8)
    left = (made.shape[1] - picture.shape[1]) // 2
    made[margin : margin + picture.shape[0], left : left + picture.shape[1]] = picture
    ruler = next(each for each in _RULERS_M if each * DOTS_PER_METRE <= width)
    y, end = margin + picture.shape[0] + round(0.006 * DOTS_PER_METRE), margin + round(ruler * DOTS_PER_METRE)
    tick = round(0.0015 * DOTS_PER_METRE)
    cv2.line(made, (margin, y), (end, y), 0, 3)
    for x in (margin, end):
        cv2.line(made, (x, y - tick), (x, y + tick), 0, 3)
    text = f"{1000 * ruler:g} mm at 100 %  -  {board.text}"
    cv2.putText(made, text, (margin, y + 5 * tick), cv2.FONT_HERSHEY_SIMPLEX, 0.9, 0, 2, cv2.LINE_AA)
    return made


def write_board_page(file: Path, board: Board) -> None:
    """A PNG that says how large it is. :raises InputError: for a name that is not .png."""
    if file.suffix.lower() != ".png":
        raise InputError(f"print_board: expected the name of a .png, got {file}")
    ok, data = cv2.imencode(".png", page(board))
    assert ok
    png = data.tobytes()
    # Dots in x and y, by the metre (PNG, 11.3.4.3).
    chunk = b"pHYs" + struct.pack(">IIB", DOTS_PER_METRE, DOTS_PER_METRE, 1)
    sized = struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
    make_folder(file.absolute().parent, "print_board")
    with whole_file(file) as aside:
        aside.write_bytes(png[:_PNG_BEGIN] + sized + png[_PNG_BEGIN:])
