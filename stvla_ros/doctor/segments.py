"""Whose shared memory is too small for pictures: processes that run without this package's Fast DDS profile.

Fast DDS locks a file beside each segment for as long as its process lives, and the kernel tells who holds which lock.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stvla_ros.doctor.fastdds import VARIABLES
from stvla_ros.doctor.findings import Findings, error, note, ok, warning
from stvla_ros.doctor.records import Stream
from stvla_ros.doctor.streams import paired

# Of the profile's UDP transport.
RECEIVE_BUFFER = 4_194_304
_LOCK = re.compile(r"^\d+: FLOCK +\w+ +\w+ +(\d+) [0-9a-f]+:[0-9a-f]+:(\d+) ")
_SEGMENT = re.compile(r"fast(?:rtps|dds)_[0-9a-f]{16}")
# Bytes: one rgb8 picture of 640x480. The stock segment has half a megabyte.
_PICTURE = 640 * 480 * 3
_FEW = 0.95
# Listened to for less, a camera's first moments look like loss.
_LEAST_MESSAGES = 10


@dataclass(frozen=True)
class Process:
    """:param segment: size of its largest segment in bytes."""

    pid: int
    name: str
    segment: int

    def __str__(self) -> str:
        return f"{self.name} (pid {self.pid}, {self.segment / 1e6:.1f} MB)"


def small_segments(shared: Path = Path("/dev/shm"), proc: Path = Path("/proc")) -> tuple[Process, ...]:
    """Running participants of ROS 2 on this machine whose segment holds no picture; those that may be looked at."""
    try:
        locks = (proc / "locks").read_text().splitlines()
        owners = {int(found[2]): int(found[1]) for line in locks if (found := _LOCK.match(line))}
        largest: dict[int, int] = {}
        for segment in shared.iterdir():
            lock = segment.with_name(f"{segment.name}_el")
            if _SEGMENT.fullmatch(segment.name) and lock.exists():
                pid = owners.get(lock.stat().st_ino, 0)
                largest[pid] = max(largest.get(pid, 0), segment.stat().st_size)
    except OSError:  # what ended meanwhile; no such folder
        return ()
    largest.pop(0, None)
    return tuple(Process(pid, _name(proc, pid), size) for pid, size in sorted(largest.items()) if size < _PICTURE)


def _name(proc: Path, pid: int) -> str:
    try:
        words = (proc / str(pid) / "cmdline").read_bytes().split(b"\0")
    except OSError:
        return "a process"
    # Of an interpreter, what it runs.
    names = [Path(word.decode(errors="replace")).name for word in words if word and not word.startswith(b"-")]
    return names[1] if len(names) > 1 and names[0].startswith("python") else names[0] if names else "a process"


def check_lost_pictures(image: Stream, info: Stream, profile: Path, small: tuple[Process, ...]) -> Findings:
    """Of a driver's small messages all come. Pictures that do not come with them were lost on their way.

    :param profile: Fast DDS profile of this package.
    :param small: processes without a profile for pictures, see :func:`small_segments`.
    """
    if info.count < _LEAST_MESSAGES or not image.publishers:
        return
    has, _ = paired(info.stamps_ns, image.stamps_ns)
    if has.mean() >= _FEW or _is_thinned(image.stamps_ns):
        return
    named = f"; without it run {', '.join(map(str, small[:5]))}" if small else ""
    yield error(
        f"{image.topic}: {has.sum()} of {len(has)} pictures came; of the others only the camera_info did, they are "
        "lost between the driver and here",
        f"export {VARIABLES[0]}={profile} ({VARIABLES[1]} from ROS 2 Kilted on) before the camera's driver is started, "
        f"too: its shared memory must hold pictures{named}; from another machine: "
        f"`sudo sysctl -w net.core.rmem_max={RECEIVE_BUFFER}` on both",
    )


def _is_thinned(stamps_ns: np.ndarray) -> bool:
    """Whether a driver sends every second picture, or every third: then the gaps are alike."""
    gaps = np.diff(stamps_ns)
    return len(gaps) > 1 and bool(abs(gaps - np.median(gaps)).max() < 0.5 * gaps.min())


def check_receive_buffer(kernel_most: int, environment: Mapping[str, str]) -> Findings:
    """:param kernel_most: bytes that the kernel lets a socket have."""
    if kernel_most >= RECEIVE_BUFFER:
        yield ok(f"net.core.rmem_max {kernel_most}: room for pictures from other machines")
        return
    alone = environment.get("ROS_AUTOMATIC_DISCOVERY_RANGE", "") in ("", "LOCALHOST")
    finding = note if alone and not environment.get("ROS_DISCOVERY_SERVER") else warning
    yield finding(
        f"net.core.rmem_max is {kernel_most}: pictures from other machines get lost (the profile asks for "
        f"{RECEIVE_BUFFER})",
        f"`sudo sysctl -w net.core.rmem_max={RECEIVE_BUFFER}`, and the same line in /etc/sysctl.d; nothing to do where "
        "all runs on this machine",
    )


def read_receive_buffer(file: Path = Path("/proc/sys/net/core/rmem_max")) -> int:
    """0 where the kernel does not tell."""
    try:
        return int(file.read_text())
    except (OSError, ValueError):
        return 0


def check_small_segments(small: tuple[Process, ...], profile: Path) -> Findings:
    """Whether one of these is a camera's driver, only a person knows."""
    if small:
        yield note(
            f"participants without a profile for pictures: {', '.join(map(str, small[:8]))}",
            f"if a camera's driver is among them, start it with {VARIABLES[0]}={profile} exported",
        )
