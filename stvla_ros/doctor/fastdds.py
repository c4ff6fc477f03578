"""Check 2: the Fast DDS profile, and the shared memory that it needs."""

import fcntl
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from stvla_ros.doctor.findings import Findings, error, note, ok, warning
from stvla_ros.errors import InputError
from stvla_ros.safe_files import plain_xml, read_bytes

# Variables of Fast DDS 2 (ROS 2 Jazzy) and of Fast DDS 3 (Kilted and later); each version reads only its own.
VARIABLES = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")
_STOCK_SEGMENT = 524_288
# One rgb8 picture of 640x480: a smaller segment loses most of them.
_PICTURE = 640 * 480 * 3
# Ten RGB-D frames of 640x480: they wait while one of the nodes is busy.
_ENOUGH = 10 * 640 * 480 * 5
# Number of processes that hold a segment each: camera, robot, the six of `stvla robot`, a recorder, and this or rviz.
_PROCESSES = 10
# Share of the segment that Fast DDS adds to it for its own book-keeping (measured with 2.14).
_OVERHEAD = 1.06
_SEGMENT_LOCK = re.compile(r"fast(?:rtps|dds)_[0-9a-f]{16}_el")
_MB = 1e6


# Largest number in 32 bits, as in Fast DDS.
_MOST_DIGITS = 10


@dataclass(frozen=True)
class Profile:
    """The settings of a profile file for every participant.

    :param is_default: whether the file has a participant profile that is used without being named.
    :param segment: bytes of shared memory that each participant takes; 0 without shared memory.
    :param udp: whether other machines can be reached.
    """

    is_default: bool
    segment: int
    udp: bool


@dataclass(frozen=True)
class SharedMemory:
    """
    :param total, free: size and free part of /dev/shm, bytes.
    :param leftovers: number of segments whose processes have ended.
    :param leftover_bytes: bytes in these segments.
    """

    total: int
    free: int
    leftovers: int = 0
    leftover_bytes: int = 0


def read_profile(file: Path) -> Profile:
    """:raises InputError: when the file is missing or no profile file."""
    try:
        root = ElementTree.fromstring(plain_xml(read_bytes(file, "xml_bytes"), f"Fast DDS profile {file}"))
    except InputError:
        raise
    except OSError as problem:
        raise InputError(f"Fast DDS profile {file}: expected a file ({problem.strerror})") from None
    except (ElementTree.ParseError, LookupError, ValueError) as problem:  # the others for encodings
        raise InputError(f"Fast DDS profile {file}: expected XML ({problem})") from None
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]  # the namespace differs between versions
    participants = [p for p in root.iter("participant") if p.get("is_default_profile") == "true"]
    if not participants:
        return Profile(False, _STOCK_SEGMENT, True)
    rtps = participants[0].find("rtps")
    builtin = rtps is None or rtps.findtext("useBuiltinTransports", "true").strip() != "false"
    used = [] if rtps is None else [(t.text or "").strip() for t in rtps.iterfind("userTransports/transport_id")]
    kinds: dict[str, int] = {"UDPv4": 0, "SHM": _STOCK_SEGMENT} if builtin else {}
    for descriptor in root.iter("transport_descriptor"):
        if descriptor.findtext("transport_id", "").strip() in used:
            kind = descriptor.findtext("type", "").strip()
            kinds[kind] = _segment(file, descriptor) if kind == "SHM" else 0
    return Profile(True, kinds.get("SHM", 0), any(kind.startswith("UDP") for kind in kinds))


def _segment(file: Path, descriptor: ElementTree.Element) -> int:
    text = descriptor.findtext("segment_size", str(_STOCK_SEGMENT)).strip()
    if not text.isdecimal() or len(text) > _MOST_DIGITS:
        raise InputError(f"Fast DDS profile {file}: expected segment_size in bytes, got {text!r}")
    return int(text)


def read_shared_memory(folder: Path = Path("/dev/shm")) -> SharedMemory:
    """:raises InputError: when there is no such folder."""
    try:
        usage = shutil.disk_usage(folder)
    except OSError as problem:
        raise InputError(f"{folder}: expected shared memory there ({problem.strerror})") from None
    abandoned = [
        segment
        for lock in folder.iterdir()
        if _SEGMENT_LOCK.fullmatch(lock.name)
        and _is_abandoned(lock)
        and (segment := lock.with_name(lock.name.removesuffix("_el"))).is_file()
    ]
    return SharedMemory(usage.total, usage.free, len(abandoned), sum(file.stat().st_size for file in abandoned))


def _is_abandoned(lock: Path) -> bool:
    """Whether the process that owns the segment has ended: a running process keeps this file locked."""
    try:
        with lock.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return True
    except OSError:  # locked, gone meanwhile, or another user's
        return False


def check_fastdds(
    environment: Mapping[str, str], rmw: str, variable: str, own_profile: Path, memory: SharedMemory
) -> Findings:
    """
    :param environment: environment of the process as its user set it.
    :param rmw: identifier of the middleware; empty when it is not known.
    :param variable: the one of ``VARIABLES`` that the loaded Fast DDS reads; empty when it is not known.
    :param own_profile: profile that the nodes use if the user named none.
    """
    if rmw and "fastrtps" not in rmw:
        yield note(f"not used: the middleware is {rmw}")
        return
    yield from _check_variables(environment, variable)
    named = environment.get(variable or VARIABLES[0], "")
    file = Path(named) if named else own_profile
    whose = "of this package" if file == own_profile else "named by the user"
    try:
        profile = read_profile(file)
    except InputError as problem:
        yield error(
            str(problem),
            f"name one that can be read, or unset {variable or VARIABLES[0]} to use {own_profile}"
            if named
            else "install the package again (`colcon build`, or a clean checkout)",
        )
        return
    yield ok(f"profile {whose}: {file}")
    yield from _check_profile(profile, own_profile)
    yield from _check_memory(profile, memory)


def _check_variables(environment: Mapping[str, str], variable: str) -> Findings:
    for other in VARIABLES:
        if variable and other != variable and environment.get(other) and not environment.get(variable):
            yield warning(
                f"{other} names a profile, but the Fast DDS in use reads {variable}",
                f"set {variable} to the same file",
            )


def _check_profile(profile: Profile, own_profile: Path) -> Findings:
    advice = f"take over the transports of {own_profile}"
    if not profile.is_default:
        yield warning("the profile has no default participant, so nodes run with stock settings", advice)
    if not profile.segment:
        yield warning("the profile has no shared memory: camera pictures go through UDP and get lost", advice)
    elif profile.segment < _PICTURE:
        yield error(
            f"shared-memory segment of {profile.segment / _MB:.1f} MB: less than one 640x480 picture "
            f"({_PICTURE / _MB:.1f} MB), most of them will be lost",
            advice,
        )
    elif profile.segment < _ENOUGH:
        yield warning(f"shared-memory segment of {profile.segment / _MB:.1f} MB: room for a few frames only", advice)
    else:
        yield ok(f"shared-memory segment of {profile.segment / _MB:.1f} MB a process")
    if not profile.udp:
        yield note("the profile has no UDP: nodes on other machines are not reached")


def _check_memory(profile: Profile, memory: SharedMemory) -> Findings:
    each = profile.segment * _OVERHEAD
    room = f"/dev/shm has {memory.free / _MB:.0f} MB free of {memory.total / _MB:.0f} MB"
    advice = (
        f"make it larger: a container needs `--shm-size={_PROCESSES * each / _MB + 100:.0f}m` or `--ipc=host`; "
        "elsewhere `mount -o remount,size=2G /dev/shm`"
    )
    if memory.free < 2 * each:
        yield error(f"{room}: not enough for two processes of {each / _MB:.0f} MB", advice)
    elif memory.free < _PROCESSES * each:
        yield warning(f"{room}: enough for {int(memory.free // each)} processes, a graph has {_PROCESSES}", advice)
    else:
        yield ok(room)
    if memory.leftovers:
        finding = warning if memory.leftover_bytes > memory.total / 10 else note
        yield finding(
            f"{memory.leftovers} segments of killed processes hold {memory.leftover_bytes / _MB:.0f} MB of it",
            "`fastdds shm clean` removes them and leaves running nodes alone",
        )
