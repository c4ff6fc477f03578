"""A real node in a process of its own."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from stvla_ros.child_process import killed_with_parent
from stvla_ros.nodes.executables import module_of

TIMEOUT_S = 90.0  # far more than anything takes, also on a busy machine


def _path_with(package: Path | None) -> dict[str, str]:
    path = os.environ.get("PYTHONPATH", "")
    return {"PYTHONPATH": f"{package}{os.pathsep}{path}"} if package else {}


class NodeProcess:
    """One executable of the package. Its output is kept in `output`."""

    def __init__(
        self,
        executable: str,
        folder: Path,
        parameters: Mapping[str, Any] | None = None,
        arguments: tuple[str, ...] = (),
        program: Path | None = None,
        package: Path | None = None,
    ) -> None:
        """
        :param parameters: of the node of the same name, or by node name when the process holds several.
        :param program: a Python file to run instead of the installed module.
        :param package: folder in which a further package is installed, for this process alone.
        """
        self.name = executable
        self._number = len(list(folder.glob("*.log")))
        parameters = parameters or {}
        by_node = (
            parameters
            if all(isinstance(v, Mapping) for v in parameters.values()) and parameters
            else {executable: parameters}
        )
        file = folder / f"{executable}{self._number}.yaml"
        file.write_text(
            yaml.safe_dump({f"/**/{name}": {"ros__parameters": dict(values)} for name, values in by_node.items()})
        )
        target = [str(program)] if program else ["-m", module_of(executable)]
        command = [sys.executable, *target, "--ros-args"]
        if any(by_node.values()):
            command += ["--params-file", str(file)]
        self._log = folder / f"{executable}{self._number}.log"
        with self._log.open("w") as log:
            self.process = subprocess.Popen(
                [*command, *arguments],
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=killed_with_parent,
                # What stops a robot is kept: by the test's own drivers, started anew, it must be found again.
                env=os.environ
                | {
                    "PYTHONUNBUFFERED": "1",
                    "PYTHONFAULTHANDLER": "1",
                    "XDG_STATE_HOME": str(folder.resolve() / "state"),
                }
                | _path_with(package),
            )

    @property
    def output(self) -> str:
        return self._log.read_text()

    @property
    def pid(self) -> int:
        """The wheels' bootstrapper re-executes Python in place, so this stays the node's."""
        return self.process.pid

    def alive(self) -> bool:
        return self.process.poll() is None

    def wait(self, timeout_s: float = TIMEOUT_S) -> int:
        """:return: the exit code."""
        return self.process.wait(timeout_s)

    def interrupt(self) -> int:
        """Ctrl-C. :return: the exit code."""
        os.killpg(self.pid, signal.SIGINT)
        return self.wait()

    def kill(self) -> None:
        """As the kernel does when memory is short."""
        if self.alive():
            os.killpg(self.pid, signal.SIGKILL)
        self.process.wait()
