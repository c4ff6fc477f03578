"""The stop latch: the causes that stopped the arm for good, kept on disk until a person resets it.

It outlives the driver: after a driver was killed, the next one finds the mark that it was running, and is stopped
because of that.
"""

import contextlib
import fcntl
import os
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, cast, get_args

from stvla_ros.atomic_files import write_json
from stvla_ros.errors import InputError, one_line, reason_of
from stvla_ros.safe_files import read_json_file

# Causes that latch. All other reasons that hold the arm (control/safety/gate.py) end by themselves.
Cause = Literal[
    "estop",  # a person, or a device that acts for one
    "arm lost",  # its measurements ended while it was engaged: it may have been switched off and carried
    "driver ended",  # the driver ended without bringing the arm to rest
    "foreign publisher",  # another node commands the arm
    "measured state",  # the arm's measurements are impossible
    "contact",
    "tracking",  # the arm does not follow
    "late ticks",  # the machine is too busy
    "latch file",  # the latch's file cannot be read
]
CAUSES: tuple[str, ...] = get_args(Cause)
# Seconds of the epoch: the end of the year 9999.
_LAST_MOMENT = 253402300799.0


@dataclass(frozen=True)
class LatchRecord:
    """The content of a latch's file.

    :param robot: name of the robot, for a person.
    :param causes: time and description of each cause, by cause: seconds of the epoch, and a text for a person.
    :param running: time since which a driver is active, seconds of the epoch; None when none is, or its arm was brought
        to rest.
    :param homed_for: process that started the driver that last moved home at its start; see :class:`StopLatch`.
    """

    robot: str = ""
    causes: Mapping[Cause, tuple[float, str]] = field(default_factory=dict)
    running: float | None = None
    homed_for: str = ""


def default_latch_folder() -> Path:
    """Folder of the latches: in the user's state, which outlives a reboot (XDG Base Directory Specification)."""
    state = os.environ.get("XDG_STATE_HOME", "")
    # The specification says that a relative path is ignored.
    folder = Path(state) if state.startswith("/") else Path.home() / ".local" / "state"
    return folder / "stvla_ros" / "latches"


def latch_file(folder: Path, node: str) -> Path:
    """:param node: full name of the driver's node, such as ``/left/widowx_driver``."""
    return folder / f"{node.strip('/').replace('/', '.')}.json"


def read_latch(file: Path) -> LatchRecord:
    """The content of the file; an open latch if there is none.

    :raises InputError: when it cannot be read, or is no latch.
    """
    try:
        return _from_json(read_json_file(file))
    except FileNotFoundError:
        return LatchRecord()
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise InputError(f"file {file}: expected what a driver wrote, got {reason_of(error)}") from None


def _from_json(content: Any) -> LatchRecord:
    causes = {_cause(cause): (_moment(since), str(detail)) for cause, (since, detail) in content["causes"].items()}
    running = None if content["running"] is None else _moment(content["running"])
    return LatchRecord(str(content["robot"]), causes, running, str(content["homed_for"]))


def _cause(name: str) -> Cause:
    if name not in CAUSES:
        raise ValueError(f"no cause: {name}")
    return cast(Cause, name)


def _moment(seconds: Any) -> float:
    if not 0.0 <= seconds <= _LAST_MOMENT:  # also for NaN
        raise ValueError(f"no time: {seconds}")
    return float(seconds)


def shown_moment(seconds: float) -> str:
    """:param seconds: time, seconds of the epoch."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


class StopLatch:
    """Stops of one driver, kept in a file. Thread-safe. Only one process at a time may use the latch of a file.

    :param file: file of the latch; None for a driver that moves nothing and keeps no file.
    :param robot: name of the robot, for a person.
    :raises InputError: when the file cannot be written, or another process uses it. A file that cannot be read is a
        closed latch.
    """

    def __init__(self, file: Path | None, robot: str) -> None:
        self._file, self._lock, self._writing = file, threading.Lock(), threading.Lock()
        self._held = contextlib.ExitStack()
        self._record = LatchRecord(robot)
        self._saved: LatchRecord | None = None
        if file is None:
            return
        try:
            self._hold(file)
            try:
                self._record = replace(read_latch(file), robot=robot)
            except InputError as error:
                self.close("latch file", str(error))
            self.save()
        except BaseException:
            self._held.close()
            raise

    def _hold(self, file: Path) -> None:
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            # Not the file itself, which is replaced at each change. The kernel releases the lock when the process ends.
            lock = self._held.enter_context(file.with_suffix(".lock").open("a"))
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(f"file {file}: another driver of this robot runs; end it first") from None
        except OSError as error:
            raise InputError(f"file {file}: a stop cannot be kept there: {reason_of(error)}") from None

    def let_go(self) -> None:
        """Release the file for the next driver."""
        self._held.close()

    @property
    def file(self) -> Path | None:
        return self._file

    @property
    def causes(self) -> Mapping[Cause, str]:
        """The description of each cause, by cause."""
        return MappingProxyType({cause: detail for cause, (_, detail) in self._record.causes.items()})

    @property
    def closed(self) -> bool:
        return bool(self._record.causes)

    @property
    def marked(self) -> bool:
        """Whether the latch is marked: a driver is active."""
        return self._record.running is not None

    @property
    def homed_for(self) -> str:
        return self._record.homed_for

    def close(self, cause: Cause, detail: str) -> bool:
        """Close it. This does not wait for the disk, see :meth:`save`. The first description of a cause stays.

        :returns: whether the cause is new.
        """
        with self._lock:
            if cause in self._record.causes:
                return False
            causes = {**self._record.causes, cause: (time.time(), one_line(detail))}
            self._record = replace(self._record, causes=causes)
            return True

    def open(self) -> None:
        """Open it, on the disk first. :raises InputError: when that fails; it then stays closed."""
        with self._lock:
            before = self._record
            self._record = replace(before, causes={})
        try:
            self.save()
        except InputError:
            with self._lock:
                self._record = replace(self._record, causes={**before.causes, **self._record.causes})
            raise

    def begin(self) -> None:
        """Mark on the disk that a driver is active. If the mark is there already, an earlier driver ended without
        calling :meth:`end`, and the latch is closed for that.

        :raises InputError: when it cannot be written.
        """
        if (since := self._record.running) is not None:
            active = f"a driver that was active since {shown_moment(since)}"
            self.close("driver ended", f"{active} ended without bringing its arm to rest")
        with self._lock:
            self._record = replace(self._record, running=time.time())
        self.save()

    def end(self) -> None:
        """The arm was properly brought to rest. :raises InputError: when it cannot be written."""
        with self._lock:
            self._record = replace(self._record, running=None)
        self.save()

    def homed(self, starter: str) -> None:
        """Remember who started the driver that moved the arm home, so that a restarted driver does not do it again.

        :raises InputError: when it cannot be written.
        """
        with self._lock:
            self._record = replace(self._record, homed_for=starter)
        self.save()

    def save(self) -> None:
        """Write the latch to the disk completely and durably before returning. :raises InputError: when it cannot be
        written.
        """
        with self._writing:
            record = self._record
            if self._file is None or record == self._saved:
                return
            try:
                write_json(self._file, vars(record), durable=True)
            except OSError as error:
                raise InputError(f"file {self._file}: a stop cannot be kept there: {reason_of(error)}") from None
            self._saved = record
