"""One way to read every kind of recording."""

from collections.abc import Iterator, Sequence
from itertools import chain, pairwise
from pathlib import Path

import numpy as np

from stvla_ros.errors import InputError
from stvla_ros.recordings.bag_files import is_bag
from stvla_ros.recordings.bag_reader import BagTopics, read_bag
from stvla_ros.recordings.image_folder import read_image_folder
from stvla_ros.recordings.pixels import picture_size
from stvla_ros.recordings.types import OnBadFrame, RecordedFrame
from stvla_ros.recordings.video_reader import read_video
from stvla_ros.safe_files import check_regular

RATE_FRAMES = 10
"""Number of first frames from which a recording's rate is computed."""
_USUAL_RATE = 30.0
# Kinds of archives by the bytes at a place in the file (their own formats' descriptions; of tar, POSIX' ustar).
_ARCHIVES = (
    ("zip", 0, b"PK\x03\x04"),
    ("zip", 0, b"PK\x05\x06"),
    ("gzip", 0, b"\x1f\x8b"),
    ("bzip2", 0, b"BZh"),
    ("xz", 0, b"\xfd7zXZ\x00"),
    ("zstd", 0, b"\x28\xb5\x2f\xfd"),
    ("7z", 0, b"7z\xbc\xaf\x27\x1c"),
    ("rar", 0, b"Rar!"),
    ("tar", 257, b"ustar"),
)
_HEAD_BYTES = 65_536


def frame_rate(stamps: Sequence[int]) -> float:
    """Pictures a second, by the median of the intervals; with a single picture a camera's usual 30.

    :param stamps: nanoseconds.
    """
    steps = sorted(after - before for before, after in pairwise(stamps) if after > before)
    return 1e9 / steps[len(steps) // 2] if steps else _USUAL_RATE


def open_recording(
    path: Path | str,
    topics: BagTopics = BagTopics(),
    frame_rate: float | None = None,
    on_bad_frame: OnBadFrame | None = None,
    tolerance_ns: int | None = None,
) -> Iterator[RecordedFrame]:
    """Frames of a video file, a folder of pictures, or a rosbag2 (a folder, or one .mcap or .db3 file).

    The first frame is read at once, so that an unusable recording is an error here and not later.

    :param topics: topics of a bag that are read; ignored for other recordings.
    :param frame_rate: frames per second of pictures without stamps; ignored for other recordings.
    :param on_bad_frame: function that is called with one line for each picture of a folder or bag that cannot be
        decoded and is left out; None: such a picture is an error.
    :param tolerance_ns: largest difference of the stamps of a bag's picture and its depth, see ``FramePairs``.
    :raises InputError: for a missing, unreadable or empty recording; also later, where a recording breaks off.
    """
    path = Path(path).expanduser()
    if not path.exists():
        raise InputError(f"recording {path}: there is no such file or folder")
    told: list[str] = []

    def tell(problem: str) -> None:
        if not told:
            told.append(problem)
        on_bad_frame(problem)

    on_bad = None if on_bad_frame is None else tell
    if is_bag(path):
        frames = read_bag(path, topics, on_bad, tolerance_ns)
    elif path.is_dir():
        frames = read_image_folder(path, frame_rate, on_bad)
    elif said := _no_video(path):
        raise InputError(f"recording {path}: expected a video, a folder of pictures or a bag, {said}")
    else:
        frames = read_video(path)
    try:
        first = next(frames)
    except StopIteration:
        why = f"; the first was left out: {told[0]}" if told else ""
        raise InputError(f"recording {path}: expected frames, found none{why}") from None
    told.append("")  # from now on nothing is kept
    return chain([first], frames)


def _no_video(path: Path) -> str:
    """What a file is that people take for a recording; empty for all others."""
    check_regular(path)
    try:
        with path.open("rb") as stream:
            head = stream.read(_HEAD_BYTES)
    except OSError:  # the reader of videos says why
        return ""
    for kind, place, mark in _ARCHIVES:
        if head[place : place + len(mark)] == mark:
            return f"got an archive ({kind}): unpack it, and give the folder"
    if picture_size(np.frombuffer(head, np.uint8)):
        return "got a single picture: give its folder"
    return ""
