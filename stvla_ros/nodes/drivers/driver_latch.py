"""A driver's stop latch: where it is kept, and when it is written."""

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from stvla_ros.control.safety.latch import Cause, StopLatch, default_latch_folder, latch_file
from stvla_ros.errors import InputError
from stvla_ros.nodes.kit.base import StvlaNode
from stvla_ros.nodes.kit.threads import Alarm


class DriverLatch:
    """Guarded by the driver's lock.

    :param node: declares its parameter.
    """

    def __init__(self, node: StvlaNode) -> None:
        self._node = node
        self._folder = node.parameter(
            "latch_folder", "", "where stops are kept until ~/reset; empty for ~/.local/state/stvla_ros/latches"
        )
        self._latch: StopLatch | None = None
        self._ever_closed = False
        self._saver: Alarm | None = None

    def load(self, robot: str, dry_run: bool) -> None:
        """To be called from the node's ``configure``.

        :param dry_run: what only shows what it would do has a latch of its own, which nobody else sees: it must neither
            be stopped by what happened to the robot, nor be able to reset it.
        :raises InputError: when stops cannot be kept.
        """
        folder = Path(self._folder).expanduser() if self._folder else default_latch_folder()
        self._latch = StopLatch(None if dry_run else latch_file(folder, self._node.get_fully_qualified_name()), robot)
        # The ticker must not wait for a disk. A driver that is killed meanwhile left the mark that it was active.
        self._saver = Alarm("latch", self._latch.save, self._node.survive)

    def unload(self) -> None:
        """To be called from the node's ``cleanup``. Safe to call twice."""
        if self._saver is not None:
            self._saver.stop()
            self._saver = None
        if self._latch is not None:
            # What the saver was woken for last may not be written yet.
            self._save()
            self._latch.let_go()
            self._latch = None

    @property
    def causes(self) -> Mapping[Cause, str]:
        """What happened, by cause; empty while the latch is open."""
        return {} if self._latch is None else self._latch.causes

    @property
    def closed(self) -> bool:
        return bool(self.causes)

    def begin(self) -> None:
        """The driver becomes active. :raises InputError: when that cannot be kept."""
        self._latch.begin()
        self._ever_closed |= self.closed

    def end(self) -> None:
        """The arm rests, and the driver says nothing more."""
        with self._told():
            self._latch.end()

    def close(self, cause: Cause, detail: str) -> bool:
        """:returns: whether the cause is new."""
        new = self._latch.close(cause, detail)
        if new:
            self._ever_closed = True
            if self._latch.marked:
                self._saver.wake()
            else:
                # No ticker waits, and after a kill no mark of an active driver would tell that something was lost.
                self._save()
        return new

    def _save(self) -> None:
        with self._told():
            self._latch.save()

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        """Say what cannot be written, and go on."""
        try:
            yield
        except InputError as error:
            self._node.reject("latch", str(error))

    def open(self) -> None:
        """:raises InputError: when that cannot be kept; then it stays closed."""
        self._latch.open()

    def why_not_home(self) -> str:
        """Why the start of this driver is not to move the arm home; empty when it is."""
        if self._ever_closed:
            return "it was stopped"
        if self._latch.homed_for == _starter():
            return "this is a driver that was started again"
        return ""

    def homed(self) -> None:
        """The start of this driver moves the arm home. :raises InputError: when that cannot be kept."""
        self._latch.homed(_starter())


def _starter() -> str:
    """The process that started this one, told from a later one with its number: what starts a driver again that ended
    (`stvla robot`, `ros2 launch`) lives on meanwhile.
    """
    parent = os.getppid()
    # Behind the name, which may hold anything: the moment of the start, field 22 (proc(5)).
    began = Path(f"/proc/{parent}/stat").read_text().rpartition(")")[2].split()[19]
    return f"{parent}:{began}"
