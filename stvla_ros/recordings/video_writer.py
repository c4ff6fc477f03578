"""Writes mp4 videos that browsers can play: H.264, yuv420p, with the index at the start."""

from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self

import av
import numpy as np

from stvla_ros.errors import InputError


class VideoWriter:
    """One video file. Use as a context manager, or call ``close``: only then can the file be played.

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
            raise InputError(f"video {self.path}: cannot be written ({error.strerror})") from error

    def write(self, rgb: np.ndarray) -> None:
        """Append a frame.

        :param rgb: (H, W, 3) uint8 with even sides (yuv420p halves them), all frames of one size.
        :raises InputError: for another type, odd sides or a size that changes, or after ``close``.
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
            self._open(rgb.shape[1], rgb.shape[0])
        if (self._stream.width, self._stream.height) != (rgb.shape[1], rgb.shape[0]):
            raise InputError(
                f"video {self.path}: expected frames of {self._stream.width}x{self._stream.height}, "
                f"got {rgb.shape[1]}x{rgb.shape[0]}"
            )
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb), format="rgb24")
        frame.pts = self.frames
        frame.time_base = 1 / self._rate
        self._container.mux(self._stream.encode(frame))
        self.frames += 1

    def close(self) -> None:
        """Finish the file. Safe to call twice. A video without frames leaves no file."""
        if self._closed:
            return
        self._closed = True
        if self._container is None:
            self.path.unlink(missing_ok=True)
            return
        self._container.mux(self._stream.encode())
        self._container.close()

    def _open(self, width: int, height: int) -> None:
        self._container = av.open(str(self.path), "w", options={"movflags": "faststart"})
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
