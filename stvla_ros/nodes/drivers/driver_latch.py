"""A driver's stop latch: its file, and the times at which it is written."""

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from stvla_ros.control.safety.latch import Cause, StopLatch, default_latch_folder, latch_file
from stvla_ros.errors import InputError
from stvla_ros.nodes.kit.base import StvlaNode
from stvla_ros.nodes.kit.threads import Alarm


class DriverLatch:
    """Used under the driver's lock.

    :param node: node that declares the parameter.
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
        """Call this from the node's ``configure``.

        :param dry_run: whether nothing is sent to the robot. A dry run has a latch of its own that nobody else sees: it
            must neither be stopped by what happened to the robot, nor be able to reset that.
        :raises InputError: when stops cannot be kept.
        """
        folder = Path(self._folder).expanduser() if self._folder else default_latch_folder()
        self._latch = StopLatch(None if dry_run else latch_file(folder, self._node.get_fully_qualified_name()), robot)
        # The ticker must not wait for a disk. A driver that is killed meanwhile has left the mark that it was active.
        self._saver = Alarm("latch", self._latch.save, self._node.survive)

    def unload(self) -> None:
        """Call this from the node's ``cleanup``. Safe to call twice."""
        if self._saver is not None:
            self._saver.stop()
            self._saver = None
        if self._latch is not None:
            # The saver may not have written its last change yet.
            self._save()
            self._latch.let_go()
            self._latch = None

    @property
    def causes(self) -> Mapping[Cause, str]:
        """The description of each cause, by cause; empty while the latch is open."""
        return {} if self._latch is None else self._latch.causes

    @property
    def closed(self) -> bool:
        return bool(self.causes)

    def begin(self) -> None:
        """The driver becomes active. :raises InputError: when the mark cannot be written."""
        self._latch.begin()
        self._ever_closed |= self.closed

    def end(self) -> None:
        """The arm rests, and the driver sends nothing more."""
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
                # No ticker waits here. And without a mark of an active driver, a kill would lose the cause without a
                # trace.
                self._save()
        return new

    def _save(self) -> None:
        with self._told():
            self._latch.save()

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        """Report what cannot be written, and continue."""
        try:
            yield
        except InputError as error:
            self._node.reject("latch", str(error))

    def open(self) -> None:
        """:raises InputError: when that cannot be written; it then stays closed."""
        self._latch.open()

    def why_not_home(self) -> str:
        """The reason why this start of the driver must not move the arm home; empty when it may."""
        if self._ever_closed:
            return "it was stopped"
        if self._latch.homed_for == _starter():
            return "this is a driver that was started again"
        return ""

    def homed(self) -> None:
        """This start of the driver moves the arm home. :raises InputError: when that cannot be written."""
        self._latch.homed(_starter())


def _starter() -> str:
    """The process that started this one, distinguished from a later one with the same number. A program that restarts
    an ended driver (`stvla robot`, `ros2 launch`) stays alive meanwhile.
    """
    parent = os.getppid()
    # After the name, which may contain anything: the start time, field 22 (proc(5)).
    began = Path(f"/proc/{parent}/stat").read_text().rpartition(")")[2].split()[19]
    return f"{parent}:{began}"
