"""Node processes that are forked from one that has imported all nodes.

Importing a node takes 2 s of processor time, a simulator 6 s more, and the tests start hundreds. A process that has
imported them once, and done nothing else, forks each of them. What is forked has a session, an environment, an output
and a participant of its own, as if it had been executed. That what is installed can be executed, the tests in
test/launch show.

As a program, this file is that process. On its standard input, a socket, come requests as JSON: an executable with
arguments, environment and a file for the output, answered by the process' number; or a number, answered by the status
that it ended with, or null.
"""

import atexit
import contextlib
import gc
import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from stvla_ros import plugins
from stvla_ros.child_process import killed_with_parent
from stvla_ros.errors import InputError
from stvla_ros.nodes.executables import executables, module_of

_MOST_BYTES = 1_000_000


class ForkedNode:
    """What the tests need of :class:`subprocess.Popen`.

    :param arguments: command-line arguments of the node.
    :param environment: all of the process' variables. Those that Python or a library reads while it is imported do not
        count, except PYTHONPATH.
    :param log: file of all that it prints.
    """

    _server: socket.socket | None = None
    _lock = threading.Lock()

    def __init__(self, executable: str, arguments: list[str], environment: Mapping[str, str], log: Path) -> None:
        self.returncode: int | None = None
        request = {"executable": executable, "arguments": arguments, "environment": dict(environment), "log": str(log)}
        self.pid: int = self._ask(request)

    @classmethod
    def _ask(cls, request: Any) -> Any:
        with cls._lock:
            if cls._server is None:
                cls._server, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
                cls._server.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _MOST_BYTES)
                process = subprocess.Popen([sys.executable, __file__], stdin=theirs, start_new_session=True)
                atexit.register(process.wait)
                atexit.register(cls._server.close)
                theirs.close()
            cls._server.send(json.dumps(request).encode())
            return json.loads(cls._server.recv(_MOST_BYTES))

    def poll(self) -> int | None:
        if self.returncode is None and (status := self._ask(self.pid)) is not None:
            self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """:raises subprocess.TimeoutExpired: when it runs for longer, in seconds."""
        ends = None if timeout is None else time.monotonic() + timeout
        while (code := self.poll()) is None:
            if ends is not None and time.monotonic() >= ends:
                raise subprocess.TimeoutExpired(str(self.pid), timeout or 0.0)
            time.sleep(0.02)
        return code

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)


def _serve(control: socket.socket) -> Callable[[], None]:
    """Answer requests until the tests end. :returns: what is left to do, in this process or in one that it forked."""
    while data := control.recv(_MOST_BYTES):
        request = json.loads(data)
        if isinstance(request, int):
            pid, status = os.waitpid(request, os.WNOHANG)
            control.send(json.dumps(status if pid else None).encode())
            continue
        if request["executable"] == "sim_bridge":
            _import_simulator()
        if not (number := os.fork()):
            control.close()
            return lambda: _become(**request)
        # It leads a session when the tests get to know its number, so that they can signal to its group.
        while os.getpgid(number) != number:
            time.sleep(0.001)
        control.send(json.dumps(number).encode())
    return lambda: None


def _import_simulator() -> None:
    from stvla_ros.sim.maniskill.assets import find_assets

    with contextlib.suppress(InputError):
        # Read only once, on import.
        os.environ["MS_ASSET_DIR"] = str(find_assets(download=False))
    importlib.import_module("mani_skill.envs")


def _become(executable: str, arguments: list[str], environment: dict[str, str], log: str) -> None:
    # The collector, also in the end, has only what this process makes.
    gc.freeze()
    os.setsid()
    killed_with_parent()
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for number in (1, 2):
        os.dup2(os.open(log, os.O_WRONLY | os.O_APPEND), number)
    sys.stdout.reconfigure(write_through=True)
    os.environ.clear()
    os.environ.update(environment)
    path = [part for part in environment.get("PYTHONPATH", "").split(os.pathsep) if part and part not in sys.path]
    if path:
        sys.path[:0] = path
        plugins._scan.cache_clear()
    module = importlib.import_module(module_of(executable))
    sys.argv = [str(module.__file__), *arguments]
    code = 0
    try:
        module.main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0
    except BaseException:
        traceback.print_exc()
        code = 1
    # As Python ends, but for taking down what was imported before the fork.
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    gc.collect()
    os._exit(code)


if __name__ == "__main__":
    # Last what rclpy imports when it makes a node.
    for name in (*map(module_of, executables()), "rosidl_generator_py"):
        importlib.import_module(name)
    _serve(socket.socket(fileno=os.dup(0)))()
