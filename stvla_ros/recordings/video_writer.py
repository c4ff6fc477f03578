"""Writes mp4 videos that browsers can play: H.264, yuv420p, with the index at the start.

While it grows, a file is in fragments of a second, each with its own index: what is there when the process is killed or
the disk is full, can be played. The one index for all is put in front at the end.
"""

import contextlib
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import TracebackType

import av
import numpy as np
from typing_extensions import Self

from stvla_ros.atomic_files import whole_file, why_not_written
from stvla_ros.errors import InputError

_FRAGMENTS = {"movflags": "frag_keyframe+delay_moov+default_base_moof", "frag_duration": "1000000"}


class VideoWriter:
    """One video file. Use as a context manager, or call ``close``.

    :param path: file to write, ending in ``.mp4``; its folder is made.
    :param fps: frames per second of playback.
    :param crf: x264's constant rate factor, 0 (lossless) to 51; 20 is hard to tell from the original.
    :raises InputError: for another ending, a frame rate or factor out of range, or a path that cannot be written.
    """

    def __init__(self, path: Path | str, fps: float, crf: int = 20) -> None:
        self.path = Path(path)
        if self.path.suffix != ".mp4":
            raise InputError(f"video {self.path}: expected a name ending in .mp4")
        if not 0 < fps <= 1000:
            raise InputError(f"video fps: expected more than 0 and at most 1000, got {fps}")
        if not 0 <= crf <= 51:
            raise InputError(f"video crf: expected 0 to 51, got {crf}")
        self._rate = Fraction(fps).limit_denominator(1001)
        self._crf = crf
        self._container: av.container.OutputContainer | None = None
        self._stream: av.VideoStream | None = None
        self.frames = 0
        self._closed = False
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.open("wb").close()
        except OSError as error:
            raise InputError(f"video {self.path}: cannot be written ({why_not_written(error, path)})") from error

    def write(self, rgb: np.ndarray) -> None:
        """Append a frame.

        :param rgb: (H, W, 3) uint8 with even sides (yuv420p halves them), all frames of one size.
        :raises InputError: for another type, odd sides or a size that changes, after ``close``, and when the disk does
            not take it: the video then ends with what it took.
        """
        if self._closed:
            raise InputError(f"video {self.path}: expected no frame after the file was closed")
        if (
            rgb.dtype != np.uint8
            or rgb.ndim != 3
            or rgb.shape[2] != 3
            or rgb.size == 0
            or any(side % 2 for side in rgb.shape[:2])
        ):
            raise InputError(
                f"video {self.path}: expected (even height, even width, 3) uint8, got {rgb.shape} {rgb.dtype}"
            )
        if self._stream is None:
            with self._disk():
                self._open(rgb.shape[1], rgb.shape[0])
        if (self._stream.width, self._stream.height) != (rgb.shape[1], rgb.shape[0]):
            raise InputError(
                f"video {self.path}: expected frames of {self._stream.width}x{self._stream.height}, "
                f"got {rgb.shape[1]}x{rgb.shape[0]}"
            )
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb), format="rgb24")
        frame.pts = self.frames
        frame.time_base = 1 / self._rate
        with self._disk():
            self._container.mux(self._stream.encode(frame))
        self.frames += 1

    def close(self) -> None:
        """Finish the file. Safe to call twice. A video without frames leaves no file.

        :raises InputError: when the disk does not take all of it.
        """
        if self._closed:
            return
        if self._container is None:
            self._closed = True
            self.path.unlink(missing_ok=True)
            return
        with self._disk():
            self._container.mux(self._stream.encode())
            self._closed = True
            self._container.close()
            self._put_index_in_front()

    @contextlib.contextmanager
    def _disk(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            said = f"video {self.path}: cannot be written ({why_not_written(error, self.path)})"
            if not self._closed and self._container is not None:
                self._closed = True
                with contextlib.suppress(OSError):
                    self._container.close()
            raise InputError(said) from None

    def _put_index_in_front(self) -> None:
        with (
            whole_file(self.path) as aside,
            av.open(str(self.path)) as source,
            av.open(str(aside), "w", format="mp4", options={"movflags": "faststart"}) as target,
        ):
            stream = target.add_stream_from_template(source.streams.video[0])
            for packet in source.demux(video=0):
                if packet.dts is not None:
                    packet.stream = stream
                    target.mux(packet)

    def _open(self, width: int, height: int) -> None:
        self._container = av.open(str(self.path), "w", options=_FRAGMENTS)
        self._stream = self._container.add_stream(
            "libx264", rate=self._rate, options={"crf": str(self._crf), "preset": "veryfast"}
        )
        self._stream.width, self._stream.height, self._stream.pix_fmt = width, height, "yuv420p"
        # One thread: the encoder runs beside the simulator and the nodes, and its output is then the same on every run.
        self._stream.thread_count = 1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
