"""One way to read every kind of recording."""

from collections.abc import Iterator, Sequence
from itertools import chain, pairwise
from pathlib import Path

from stvla_ros.errors import InputError
from stvla_ros.recordings.bag_files import is_bag
from stvla_ros.recordings.bag_reader import BagTopics, read_bag
from stvla_ros.recordings.image_folder import read_image_folder
from stvla_ros.recordings.types import OnBadFrame, RecordedFrame
from stvla_ros.recordings.video_reader import read_video

RATE_FRAMES = 10
"""Number of first frames from which a recording's rate is computed."""
_USUAL_RATE = 30.0


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
    if is_bag(path):
        frames = read_bag(path, topics, on_bad_frame, tolerance_ns)
    elif path.is_dir():
        frames = read_image_folder(path, frame_rate, on_bad_frame)
    else:
        frames = read_video(path)
    try:
        first = next(frames)
    except StopIteration:
        raise InputError(f"recording {path}: expected frames, found none") from None
    return chain([first], frames)
