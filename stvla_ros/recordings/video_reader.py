"""Reads the frames of a video file."""

from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np

from stvla_ros.errors import InputError
from stvla_ros.recordings.types import FIRST_STAMP_NS, RecordedFrame
from stvla_ros.recordings.video_files import open_video, unreadable


def read_video(path: Path) -> Iterator[RecordedFrame]:
    """Frames in the order of their presentation, upright.

    The first frame has the stamp `FIRST_STAMP_NS`, the others follow by the file's presentation times. If the file has
    none (raw streams), the frames are spaced by its average rate.

    :raises InputError: for a file without a video, or a damaged one; where the file breaks off, after the frames before
        that place.
    """
    frames = 0
    try:
        with open_video(path) as (container, stream):
            stream.thread_type = "AUTO"
            first_pts: int | None = None
            for frame in _decode(container, stream):
                if frame.pts is not None:
                    first_pts = frame.pts if first_pts is None else first_pts
                    offset_ns = round((frame.pts - first_pts) * frame.time_base * 1_000_000_000)
                elif stream.average_rate:
                    offset_ns = round(frames * 1_000_000_000 / stream.average_rate)
                else:
                    raise InputError(f"video {path}: expected presentation times or a frame rate, found neither")
                frames += 1
                yield RecordedFrame(FIRST_STAMP_NS + offset_ns, _upright(frame))
    except InputError:
        raise
    except Exception as error:
        raise unreadable(path, frames, error) from None
    if frames == 0:
        raise InputError(f"video {path}: expected frames, found none")


def _decode(container: av.container.InputContainer, stream: av.VideoStream) -> Iterator[av.VideoFrame]:
    for packet in container.demux(stream):
        # FFmpeg decodes a truncated packet without an error, and ends.
        if packet.is_corrupt:
            raise av.error.EOFError(0, "the file breaks off")
        yield from packet.decode()


def _upright(frame: av.VideoFrame) -> np.ndarray:
    rgb = frame.to_ndarray(format="rgb24")
    # Rotation that shows the picture upright, counter-clockwise degrees: phones record sideways and store it.
    return np.ascontiguousarray(np.rot90(rgb, round(frame.rotation / 90))) if frame.rotation else rgb
