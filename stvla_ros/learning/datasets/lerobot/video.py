"""Frames of one episode out of a LeRobotDataset's video file, which may hold many episodes."""

from pathlib import Path

import av
import numpy as np

from stvla_ros.errors import InputError


def read_frames(path: Path, start_s: float, count: int, fps: float) -> np.ndarray:
    """The frames at ``start_s``, ``start_s + 1 / fps``, …, each within half a period of its time.

    :param start_s: presentation time of the first.
    :return: (count, H, W, 3) uint8 rgb.
    :raises InputError: no video, broken, or not with these frames.
    """
    pictures: list[np.ndarray] = []
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise InputError(f"video {path}: expected a video stream, found none")
            stream = container.streams.video[0]
            # One thread: several workers read data sets at once.
            stream.thread_count = 1
            container.seek(int(start_s / stream.time_base), stream=stream, backward=True)
            for packet in container.demux(stream):
                # FFmpeg decodes a packet that is cut off as if nothing had happened.
                if packet.is_corrupt:
                    break
                for frame in packet.decode():
                    number = round((float(frame.pts * frame.time_base) - start_s) * fps)
                    if number == len(pictures) < count:
                        pictures.append(frame.to_ndarray(format="rgb24"))
                        if pictures[-1].shape != pictures[0].shape:
                            raise InputError(f"video {path}: expected one size of picture, it changes")
                if len(pictures) == count:
                    return np.stack(pictures)
    except InputError:
        raise
    except Exception as error:  # FFmpeg's, and what PyAV makes of damaged metadata, times and sizes
        raise InputError(f"video {path}: cannot be read ({str(error)[:160] or type(error).__name__})") from None
    raise InputError(
        f"video {path}: expected {count} frames at {fps:g} Hz from {start_s:g} s on, found {len(pictures)} of them"
    )
