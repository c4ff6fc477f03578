"""Opens video files: only formats that contain their own pictures, and with their sizes checked before any is
decoded.
"""

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

import av

from stvla_ros.errors import InputError, reason_of
from stvla_ros.safe_files import check_limit, check_regular, limit

# FFmpeg's names of the formats. Playlists are not among them: they make it open other files, and addresses on the
# network.
_CONTAINERS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpeg,mpegts,mpegvideo,m4v,h264,hevc,obu,ivf,ogg,flv,gif,mjpeg,y4m,wav"
)
# ISO/IEC 14496-12: boxes that contain boxes on the way to the tables of samples.
_HOLDERS = frozenset((b"moov", b"trak", b"mdia", b"minf", b"stbl", b"edts", b"moof", b"traf"))
# Place of the count in the boxes that have one, behind the header.
_COUNTS = {b"stsz": 8, b"stz2": 8, b"stts": 4, b"ctts": 4, b"stsc": 4, b"elst": 4, b"trun": 4}
_DEEPEST, _MOST_BOXES = 8, 200_000
# FFmpeg goes through all samples for every entry of an edit list.
_MOST_EDITS = 1000


@contextmanager
def open_video(path: Path) -> Iterator[tuple[av.container.InputContainer, av.VideoStream]]:
    """A video file and its stream of pictures; of several, the one that FFmpeg would play. Errors inside are
    FFmpeg's, or:

    :raises InputError: for anything but a video file, and for a video that declares more than any real one has.
    """
    check_regular(path)
    with path.open("rb") as file:
        _check_boxes(path, file, path.stat().st_size)
    pixels = str(limit("picture_pixels"))
    options = {"format_whitelist": _CONTAINERS, "protocol_whitelist": "file", "max_pixels": pixels}
    with av.open(str(path), options=options) as container:
        if not container.streams.video:
            raise InputError(f"video {path}: expected a video stream, found none")
        stream = cast(av.VideoStream, container.streams.best("video"))
        context = stream.codec_context
        check_limit("picture_pixels", context.width * context.height, f"video {path}", "pixels a frame")
        check_limit("video_frames", stream.frames, f"video {path}", "frames")
        # Frames may be larger than the file declares: FFmpeg checks each.
        context.options = {**context.options, "max_pixels": pixels}
        yield container, stream


def unreadable(path: Path, frames: int, error: Exception) -> InputError:
    """The error in place of any that FFmpeg, or PyAV with damaged metadata, times and sizes, raises."""
    return InputError(f"video {path}: cannot be read after {frames} frames ({reason_of(error, 160)})")


def _check_boxes(path: Path, stream: BinaryIO, size: int) -> None:
    """Check an mp4 file's tables of samples. FFmpeg allocates memory for as many samples as a file declares, and fills
    it: 5 GB for a file of 1 kB.
    """
    found = [0]
    samples = edits = 0
    for kind, begin, end in _boxes(stream, 0, size, 0, found):
        if kind not in _COUNTS:
            continue
        stream.seek(begin + _COUNTS[kind])
        content = stream.read(4)
        count = struct.unpack(">I", content)[0] if len(content) == 4 and end - begin >= _COUNTS[kind] + 4 else 0
        if kind in (b"stsz", b"stz2", b"trun"):
            samples += count
        if kind == b"elst":
            edits += count
        # No sample and no entry of a table is smaller than a byte; a fragment's tables have no entries.
        if count > size:
            raise InputError(
                f"video {path}: expected at most {size} samples in {size} bytes, {kind.decode()} says {count}"
            )
    check_limit("video_frames", samples, f"video {path}", "samples")
    if samples > size:
        raise InputError(f"video {path}: expected at most {size} samples in {size} bytes, it says {samples}")
    if edits > _MOST_EDITS:
        raise InputError(f"video {path}: expected at most {_MOST_EDITS} edits, it says {edits}")


def _boxes(stream: BinaryIO, begin: int, end: int, depth: int, found: list[int]) -> Iterator[tuple[bytes, int, int]]:
    """Kind, begin and end of the content of all boxes. In files of other formats, bytes may look like boxes."""
    while begin + 8 <= end and found[0] < _MOST_BOXES:
        found[0] += 1
        stream.seek(begin)
        head = stream.read(16)
        length, kind = struct.unpack(">I4s", head[:8])
        content = begin + 8
        if length == 1 and len(head) == 16:
            (length,) = struct.unpack(">Q", head[8:])
            content = begin + 16
        last = end if length == 0 else begin + length
        if last < content or (depth == 0 and begin == 0 and kind not in _FIRST):
            return
        last = min(last, end)
        yield kind, content, last
        if kind in _HOLDERS and depth < _DEEPEST:
            yield from _boxes(stream, content, last, depth + 1, found)
        begin = last


_FIRST = frozenset((b"ftyp", b"styp", b"moov", b"moof", b"mdat", b"free", b"skip", b"wide", b"sidx", b"pnot", b"uuid"))
