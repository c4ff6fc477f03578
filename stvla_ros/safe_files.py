"""Limits on files and texts from outside, and functions that read them without filling memory or waiting for ever.

What a file says about its own size is checked before anything is unpacked, and again while it is unpacked, because a
header can lie. Every refusal is one line that names the file, what was expected, and the limit; they are listed in
docs/reference/limits.md. For larger data, raise a limit in the environment variable ``STVLA_FILE_LIMITS``.
"""

import json
import os
import re
import stat
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from functools import cache
from pathlib import Path
from typing import Any

from stvla_ros.errors import InputError, reason_of

VARIABLE = "STVLA_FILE_LIMITS"
"""Environment variable with raised limits, such as ``picture_pixels=100000000 chunk_bytes=1e9``."""

MIB, GIB = 1 << 20, 1 << 30


@dataclass(frozen=True)
class FileLimits:
    """The most that is read, for each kind of content. Whole numbers, a few times larger than real data need."""

    settings_bytes: int = 256_000
    """A YAML text: robots, trainings, policies, ``metadata.yaml`` of a bag. PyYAML reads 100 kB a second."""
    json_bytes: int = 8_000_000
    """A JSON document, a line of a file with one on each, ``timestamps.csv``. In memory it takes up to 25 times as
    much."""
    xml_bytes: int = 4_000_000
    """A URDF or a Fast DDS profile."""
    mesh_bytes: int = 100_000_000
    """A collision mesh that a URDF names."""
    robot_joints: int = 1000
    """Joints of a URDF."""
    table_bytes: int = 512_000_000
    """A table of lines: CSV, JSON lines."""
    table_rows: int = 20_000_000
    """Rows of a table, and values in one column of a row group."""
    tokenizer_bytes: int = 64_000_000
    """A tokenizer.json; Gemma's has 35 MB."""
    instruction_characters: int = 1000
    """An instruction from any source."""
    question_characters: int = 4000
    """A question to a policy that answers in words."""
    path_characters: int = 500
    """A path in a data set's metadata."""
    picture_pixels: int = 8192 * 4096
    """A picture, or a frame of a video: 8K."""
    picture_bytes: int = 256_000_000
    """A file with a picture."""
    video_frames: int = 10_000_000
    """Frames that a video file declares: four days at 30 Hz."""
    video_lead_frames: int = 5000
    """Frames of a video that are decoded before the wanted ones, beginning with a key frame."""
    episode_bytes: int = 4 * GIB
    """Pictures of an episode, unpacked; also the rows of a table that are read at once."""
    chunk_bytes: int = 128 * MIB
    """A chunk or message of a bag, or a page of a parquet table, unpacked. Chunks that overlap in time may take ten
    times as much together."""
    unpacked_bytes: int = GIB
    """A compressed recording, unpacked: this many bytes, and ``unpacked_share`` times its own size."""
    unpacked_share: int = 1000
    """See ``unpacked_bytes``."""
    tensor_header_bytes: int = 16_000_000
    """The header of a safetensors file."""
    weight_bytes: int = 1000 * GIB
    """All weights of a checkpoint."""


NAMES = tuple(each.name for each in fields(FileLimits))


def file_limits() -> FileLimits:
    """The limits in force. :raises InputError: for a variable that cannot be parsed."""
    return _parse_limits(os.environ.get(VARIABLE, ""))


@cache
def _parse_limits(text: str) -> FileLimits:
    given: dict[str, int] = {}
    for part in text.replace(",", " ").split():
        name, _, value = part.partition("=")
        if name not in NAMES:
            raise InputError(f"{VARIABLE}: expected name=number with a name of {', '.join(NAMES)}, got {part[:80]!r}")
        try:
            given[name] = int(float(value))
        except (ValueError, OverflowError):
            given[name] = 0
        if given[name] < 1:
            raise InputError(f"{VARIABLE}: {name}: expected a number of at least 1, got {value[:80]!r}")
    return replace(FileLimits(), **given)


def limit(name: str) -> int:
    """One of :class:`FileLimits`."""
    return getattr(file_limits(), name)


def check_limit(name: str, got: float, where: str, of: str) -> None:
    """
    :param name: name of the limit.
    :param where: name of the file in the message.
    :param of: unit that is counted, such as ``pixels``.
    :raises InputError: when it is more than the limit.
    """
    most = limit(name)
    if got > most:
        raise InputError(f"{where}: expected at most {most} {of}, got {short_number(got)} (limit {name}, {VARIABLE})")


def most_unpacked(size: int) -> int:
    """Bytes that a compressed recording of ``size`` bytes may unpack to, all in all."""
    return limit("unpacked_bytes") + limit("unpacked_share") * size


def short_number(number: float) -> str:
    """A number for a message; Python writes no whole number of more than 4300 digits."""
    return f"{number:g}" if isinstance(number, float) else str(number) if abs(number) < 10**30 else "a huge number"


# --- whole files ------------------------------------------------------------------------------------------------------


def read_bytes(file: Path, limit_name: str) -> bytes:
    """A file's content.

    :raises OSError: when it cannot be read.
    :raises InputError: when it is larger than the limit, or no regular file: reading a pipe could wait for ever,
        reading a device never end.
    """
    # Non-blocking: opening a pipe that nobody writes to would otherwise wait.
    descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        found = os.fstat(descriptor)
        check_regular(file, found)
        check_limit(limit_name, found.st_size, str(file), "bytes")
        with os.fdopen(descriptor, "rb", closefd=False) as stream:
            content = stream.read(limit(limit_name) + 1)  # files of /proc and growing ones say less than they have
    finally:
        os.close(descriptor)
    check_limit(limit_name, len(content), str(file), "bytes")
    return content


# The beginning of a pointer file, and its largest size (git-lfs, "The Pointer").
_LFS_POINTER, _LONGEST_POINTER = b"version https://git-lfs.github.com/spec/", 1024


def check_regular(file: Path, found: os.stat_result | None = None) -> None:
    """
    :raises InputError: for anything but a file, and for a Git LFS pointer to one.
    :raises OSError: when it does not exist.
    """
    found = found or file.stat()
    if not stat.S_ISREG(found.st_mode):
        raise InputError(f"{file}: expected a file, got a folder, pipe or device")
    if 0 < found.st_size <= _LONGEST_POINTER and _begins_with(file, _LFS_POINTER):
        raise InputError(f"{file}: is a Git LFS pointer in place of the file: run `git lfs pull` in its repository")


def _begins_with(file: Path, octets: bytes) -> bool:
    with file.open("rb") as stream:
        return stream.read(len(octets)) == octets


def read_text(file: Path, limit_name: str) -> str:
    """As :func:`read_bytes`, without the mark that programs of Windows put first.

    :raises UnicodeDecodeError: when it is not UTF-8.
    """
    return read_bytes(file, limit_name).decode("utf-8-sig")


def read_json_file(file: Path) -> Any:
    """A JSON document.

    :raises OSError: when it cannot be read.
    :raises InputError: when it is too large, or no JSON.
    """
    return parse_json(read_bytes(file, "json_bytes"), str(file))


def parse_json(text: str | bytes, where: str, limit_name: str = "json_bytes") -> Any:
    """:raises InputError: naming ``where``, for text that is no JSON, too deep or too long."""
    check_limit(limit_name, len(text), where, "bytes")
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where}: expected JSON ({reason_of(error)})") from None


def json_lines(file: Path) -> Iterator[Any]:
    """The documents of a file that has one on each line; blank lines are skipped.

    :raises OSError: when it cannot be read.
    :raises InputError: as :func:`read_json_file`.
    """
    check_regular(file)
    check_limit("table_bytes", file.stat().st_size, str(file), "bytes")
    longest = limit("json_bytes")
    with file.open("rb") as stream:
        for number in range(1, limit("table_rows") + 2):
            line = stream.readline(longest + 1)
            if not line:
                return
            check_limit("table_rows", number, str(file), "lines")
            check_limit("json_bytes", len(line), f"{file}, line {number}", "bytes")
            if line.strip():
                yield parse_json(line.strip(), f"{file}, line {number}")


def plain_xml(content: bytes, where: str) -> str:
    """An XML text in UTF-8 without entities of its own: they could stand for gigabytes, or for other files.

    :raises InputError: naming ``where``.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"{where}: expected XML in UTF-8") from None
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise InputError(f"{where}: expected XML without a document type of its own (<!DOCTYPE)")
    # A text needs no declaration of its encoding, and the parser refuses one.
    return re.sub(r"^\s*<\?xml[^>]{0,200}\?>", "", text, count=1)


def check_npz(file: Path) -> None:
    """:raises InputError: for arrays with more bytes than the file: compressed ones, or several in one place of it."""
    check_regular(file)
    with zipfile.ZipFile(file) as archive:
        total = sum(each.file_size for each in archive.infolist())
        packed = [each.filename for each in archive.infolist() if each.compress_type != zipfile.ZIP_STORED]
    if packed or total > file.stat().st_size:
        raise InputError(f"{file}: expected arrays that are stored as they are, of no more bytes than the file")


# --- what a configuration says of a network ---------------------------------------------------------------------------

# More than any network of these kinds needs.
_MOST_LAYERS = 512
_LARGEST_WIDTH = 2_000_000
# Side of the picture in patches; some buffers grow with its fourth power.
_MOST_PATCHES = 64


def check_network_sizes(source: str, block: Mapping[str, Any], name: str = "") -> None:
    """
    :param source: name of the file in messages.
    :param block: block of a config.json.
    :param name: name of the block, for messages.
    :raises InputError: for sizes that would take hours, or all memory, before any other check could refuse them.
    """
    for key, value in block.items():
        if isinstance(value, Mapping):
            check_network_sizes(source, value, f"{name}{key}.")
        elif isinstance(value, int) and key.endswith("layers") and value > _MOST_LAYERS:
            raise InputError(f"{source}: expected at most {_MOST_LAYERS} {name}{key}, got {short_number(value)}")
        elif isinstance(value, int) and key.endswith("_size") and value > _LARGEST_WIDTH:
            raise InputError(f"{source}: expected {name}{key} of at most {_LARGEST_WIDTH}, got {short_number(value)}")
    image, patch = block.get("image_size"), block.get("patch_size")
    if isinstance(image, int) and isinstance(patch, int) and image > _MOST_PATCHES * patch:
        raise InputError(
            f"{source}: expected {name}image_size of at most {_MOST_PATCHES} patches, got {short_number(image)} and "
            f"patches of {short_number(patch)}"
        )


# --- texts ------------------------------------------------------------------------------------------------------------


def check_instruction(text: Any, where: str) -> str:
    """
    :param where: name of the file, topic or parameter in the message.
    :raises InputError: for anything but text, and for a text longer than any real instruction.
    """
    if not isinstance(text, str):
        raise InputError(f"{where}: expected text, got {type(text).__name__}")
    check_limit("instruction_characters", len(text), where, "characters")
    return text
