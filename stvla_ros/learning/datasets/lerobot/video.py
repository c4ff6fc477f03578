"""Reads the frames of one episode from a LeRobotDataset's video file, which may hold many episodes."""

from pathlib import Path

import numpy as np

from stvla_ros.errors import InputError
from stvla_ros.recordings.video_files import open_video, unreadable
from stvla_ros.safe_files import check_limit, limit


def read_frames(path: Path, start_s: float, count: int, fps: float) -> np.ndarray:
    """The frames at ``start_s``, ``start_s + 1 / fps``, …, each within half a period of its time.

    :param start_s: presentation time of the first frame, seconds.
    :return: (count, H, W, 3) uint8 rgb.
    :raises InputError: for anything but a video, and for a video that is damaged or lacks these frames.
    """
    pictures: list[np.ndarray] = []
    try:
        with open_video(path) as (container, stream):
            size = 3 * stream.codec_context.width * stream.codec_context.height * count
            check_limit("episode_bytes", size, f"video {path}", f"bytes of {count} frames")
            # One thread: several workers read data sets at once.
            stream.thread_count = 1
            container.seek(int(start_s / stream.time_base), stream=stream, backward=True)
            left = count + limit("video_lead_frames")
            for packet in container.demux(stream):
                # FFmpeg decodes a truncated packet without an error.
                if packet.is_corrupt:
                    break
                for frame in packet.decode():
                    left -= 1
                    number = round((float(frame.pts * frame.time_base) - start_s) * fps)
                    if number == len(pictures) < count:
                        if pictures and (frame.height, frame.width) != pictures[0].shape[:2]:
                            raise InputError(f"video {path}: expected one size of picture, it changes")
                        pictures.append(frame.to_ndarray(format="rgb24"))
                if len(pictures) == count:
                    return np.stack(pictures)
                if left < 0:
                    break
    except InputError:
        raise
    except Exception as error:
        raise unreadable(path, len(pictures), error) from None
    raise InputError(
        f"video {path}: expected {count} frames at {fps:g} Hz from {start_s:g} s on, found {len(pictures)} of them"
    )
