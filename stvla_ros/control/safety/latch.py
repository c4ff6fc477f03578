"""The stop latch: what stopped the arm for good, kept on disk until a person resets it.

It outlives the driver: a driver that is killed finds the mark that it was running, and is stopped for that.
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

# What latches. All else that holds the arm (control/safety/gate.py) goes by itself when its reason is gone.
Cause = Literal[
    "estop",  # a person, or what speaks for one
    "arm lost",  # its measurements ended while it was engaged: it may have been switched off, and carried
    "driver ended",  # without having brought the arm to rest
    "foreign publisher",  # somebody else commands the arm
    "measured state",  # what the arm says cannot be
    "contact",
    "tracking",  # it does not follow
    "late ticks",  # the machine is too busy
    "latch file",  # what was latched cannot be read
]
CAUSES: tuple[str, ...] = get_args(Cause)
# Of the epoch, seconds: the end of the year 9999.
_LAST_MOMENT = 253402300799.0


@dataclass(frozen=True)
class LatchRecord:
    """What a latch's file says.

    :param robot: a name for a person.
    :param causes: by cause since when, seconds of the epoch, and what happened, for a person.
    :param running: since when a driver is active, seconds of the epoch; None when none is, or its arm was brought to
        rest.
    :param homed_for: what started the driver that last moved home at its start; see :class:`StopLatch`.
    """

    robot: str = ""
    causes: Mapping[Cause, tuple[float, str]] = field(default_factory=dict)
    running: float | None = None
    homed_for: str = ""


def default_latch_folder() -> Path:
    """Where latches are kept: in the user's state, which outlives a boot (XDG Base Directory Specification)."""
    state = os.environ.get("XDG_STATE_HOME", "")
    # A relative path there is to be ignored.
    folder = Path(state) if state.startswith("/") else Path.home() / ".local" / "state"
    return folder / "stvla_ros" / "latches"


def latch_file(folder: Path, node: str) -> Path:
    """:param node: full name of the driver's node, such as ``/left/widowx_driver``."""
    return folder / f"{node.strip('/').replace('/', '.')}.json"


def read_latch(file: Path) -> LatchRecord:
    """What the file says; an open latch where there is none.

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
    """:param seconds: of the epoch."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


class StopLatch:
    """Thread-safe. Only one process at a time has the latch of one file.

    :param file: where it is kept; None: nowhere, for a driver that moves nothing.
    :param robot: a name for a person.
    :raises InputError: when the file cannot be written, or another process has it. One that cannot be read is a closed
        latch.
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
            # Not the file itself, which is replaced with each change. The kernel lets go of it with the process.
            lock = self._held.enter_context(file.with_suffix(".lock").open("a"))
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(f"file {file}: another driver of this robot runs; end it first") from None
        except OSError as error:
            raise InputError(f"file {file}: a stop cannot be kept there: {reason_of(error)}") from None

    def let_go(self) -> None:
        """Leave the file to the next driver."""
        self._held.close()

    @property
    def file(self) -> Path | None:
        return self._file

    @property
    def causes(self) -> Mapping[Cause, str]:
        """What happened, by cause."""
        return MappingProxyType({cause: detail for cause, (_, detail) in self._record.causes.items()})

    @property
    def closed(self) -> bool:
        return bool(self._record.causes)

    @property
    def marked(self) -> bool:
        """Whether it says that a driver is active."""
        return self._record.running is not None

    @property
    def homed_for(self) -> str:
        return self._record.homed_for

    def close(self, cause: Cause, detail: str) -> bool:
        """Close it; it does not wait for the disk, see :meth:`save`. The first detail of a cause stays.

        :returns: whether the cause is new.
        """
        with self._lock:
            if cause in self._record.causes:
                return False
            causes = {**self._record.causes, cause: (time.time(), one_line(detail))}
            self._record = replace(self._record, causes=causes)
            return True

    def open(self) -> None:
        """Open it, on the disk first. :raises InputError: when that cannot be; it stays closed."""
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
        """Mark on the disk that a driver is active. Where the mark is there already, one ended without its
        :meth:`end`, for which the latch is closed.

        :raises InputError: when it cannot be written.
        """
        if (since := self._record.running) is not None:
            active = f"a driver that was active since {shown_moment(since)}"
            self.close("driver ended", f"{active} ended without bringing its arm to rest")
        with self._lock:
            self._record = replace(self._record, running=time.time())
        self.save()

    def end(self) -> None:
        """The arm was brought to rest in order. :raises InputError: when it cannot be written."""
        with self._lock:
            self._record = replace(self._record, running=None)
        self.save()

    def homed(self, starter: str) -> None:
        """Keep for whom the arm moved home at a driver's start, so that a respawn does not.

        :raises InputError: when it cannot be written.
        """
        with self._lock:
            self._record = replace(self._record, homed_for=starter)
        self.save()

    def save(self) -> None:
        """Have it on the disk, whole and for good, when this returns. :raises InputError: when it cannot be written."""
        with self._writing:
            record = self._record
            if self._file is None or record == self._saved:
                return
            try:
                write_json(self._file, vars(record), durable=True)
            except OSError as error:
                raise InputError(f"file {self._file}: a stop cannot be kept there: {reason_of(error)}") from None
            self._saved = record
