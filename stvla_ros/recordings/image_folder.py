"""Pictures in a folder, in the order of their stamps or names."""

import csv
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np

from stvla_ros.errors import InputError
from stvla_ros.recordings.pixels import decode_picture, is_depth_png
from stvla_ros.recordings.types import FIRST_STAMP_NS, OnBadFrame, RecordedFrame
from stvla_ros.safe_files import read_bytes, read_text
from stvla_ros.safe_paths import path_inside

SUFFIXES = (".png", ".jpg", ".jpeg")
STAMPS_FILE = "timestamps.csv"
# Whole numbers in file names from this one on are nanoseconds (one second after the epoch of any clock); smaller ones
# count frames.
_SMALLEST_STAMP = 1_000_000_000
_MOST_DIGITS = 19
# Some drivers and scripts write the time since 1970 in another unit: nanoseconds of that unit, by the number of digits
# that the time has in it from 2001 to 2286.
_OTHER_UNITS = {13: 1_000_000, 16: 1_000}
# With a smaller usual step, there would be more than 500 pictures a second.
_SMALLEST_STEP_NS = 2_000_000


def read_image_folder(
    folder: Path, frame_rate: float | None = None, on_bad_frame: OnBadFrame | None = None
) -> Iterator[RecordedFrame]:
    """Read the folder's png and jpg files.

    Stamps come from `timestamps.csv` (lines of `nanoseconds,file name`; a header line and lines that start with # are
    skipped). Without it they come from the file names, if all are whole numbers of nanoseconds
    (1700000000123456789.png), else from `frame_rate`, in the natural order of the names (frame2 before frame10). Times
    since 1970 in microseconds or milliseconds are known by the rate that they would mean as nanoseconds.

    :param frame_rate: pictures per second, used when nothing else gives stamps.
    :param on_bad_frame: function that is called with one line for each picture that cannot be read; None: such a
        picture is an error.
    :raises InputError: for missing pictures or stamps, a bad line in `timestamps.csv`, or a picture that cannot be
        read.
    """
    for stamp_ns, path in _stamped_files(folder, frame_rate):
        problem = f"image {path}: expected a readable png or jpg"
        try:
            bgr = _read_picture(path)
        except InputError as error:
            bgr, problem = None, f"image {path}: expected a readable png or jpg ({error})"
        if bgr is not None:
            yield RecordedFrame(stamp_ns, cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB))
            continue
        if on_bad_frame is None:
            raise InputError(problem)
        on_bad_frame(problem)


def _read_picture(path: Path) -> np.ndarray | None:
    try:
        content = read_bytes(path, "picture_bytes")
    except InputError:
        raise
    except (OSError, ValueError):  # no such file, or a name that no file can have
        return None
    if is_depth_png(np.frombuffer(content, np.uint8)):
        raise InputError("got 16 bits of grey, which hold depth")
    return decode_picture(content)


def _stamped_files(folder: Path, frame_rate: float | None) -> list[tuple[int, Path]]:
    if (folder / STAMPS_FILE).is_file():
        return _read_stamps(folder)
    files = [path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES]
    if not files:
        raise InputError(f"image folder {folder}: expected {', '.join(SUFFIXES)} files, found none{_elsewhere(folder)}")
    if all(_is_stamp(path.stem) and int(path.stem) >= _SMALLEST_STAMP for path in files):
        return sorted(_in_nanoseconds([(int(path.stem), path) for path in files]))
    if not frame_rate:
        raise InputError(
            f"image folder {folder}: the pictures carry no stamps: expected a frame rate (frame_rate), file names in "
            f"nanoseconds or a {STAMPS_FILE}"
        )
    files.sort(key=_natural_order)
    return [(FIRST_STAMP_NS + round(index * 1e9 / frame_rate), path) for index, path in enumerate(files)]


def _read_stamps(folder: Path) -> list[tuple[int, Path]]:
    table = folder / STAMPS_FILE
    result = []
    try:
        lines = read_text(table, "json_bytes").splitlines()
        # Spreadsheets of many languages write semicolons.
        delimiter = next((each for each in ",;\t" if lines and each in lines[0]), ",")
        rows = list(csv.reader(lines, delimiter=delimiter, skipinitialspace=True))
    except InputError:
        raise
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{table}: expected lines of nanoseconds,file name ({error})") from None
    for number, row in enumerate(rows, start=1):
        if not row or row[0].startswith("#") or (number == 1 and not row[0][:1].isdecimal()):
            continue
        if len(row) != 2 or not _is_stamp(row[0]):
            got = ",".join(row)[:200]
            raise InputError(f"{table}, line {number}: expected nanoseconds,file name; got {got!r}")
        result.append((int(row[0]), path_inside(folder, row[1], f"{table}, line {number}")))
    if not result:
        raise InputError(f"{table}: expected lines of nanoseconds,file name; found none")
    return _in_nanoseconds(result)


def _in_nanoseconds(stamped: list[tuple[int, Path]]) -> list[tuple[int, Path]]:
    """The same files, their stamps from the unit that they are in."""
    stamps = sorted(stamp for stamp, _ in stamped)
    steps = sorted(after - before for before, after in pairwise(stamps) if after > before)
    digits = {len(str(stamp)) for stamp in stamps}
    if not steps or steps[len(steps) // 2] >= _SMALLEST_STEP_NS or len(digits) > 1:
        return stamped
    factor = _OTHER_UNITS.get(digits.pop(), 1)
    return [(stamp * factor, path) for stamp, path in stamped]


def _elsewhere(folder: Path) -> str:
    """Where pictures are instead, in words."""
    below = sorted({path.parent.name for path in folder.glob("*/*") if path.suffix.lower() in SUFFIXES})
    if below:
        return f"; there are some in {', '.join(below[:8])}: give one of these folders"
    others = sorted({path.suffix for path in folder.iterdir() if path.suffix})
    return f"; its files are {', '.join(others[:8])}" if others else ""


def _is_stamp(text: str) -> bool:
    """Whether the text is a whole number that fits in 64 bits."""
    return text.isdecimal() and len(text) <= _MOST_DIGITS and int(text) < 2**63


def _natural_order(path: Path) -> list[tuple[int, int | str]]:
    return [(0, int(part)) if part.isdecimal() else (1, part) for part in re.split(r"([0-9]+)", path.stem)]
