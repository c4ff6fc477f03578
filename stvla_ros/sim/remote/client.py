"""An environment that runs in a process of its own, with an interpreter of its own."""

import builtins
import json
import os
import signal
import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

import stvla_ros
from stvla_ros.control.actions import EndEffectorAction
from stvla_ros.errors import InputError
from stvla_ros.sim.environment import Environment, Observation, StepResult
from stvla_ros.sim.remote import protocol

# The worker's interpreter must see this package and nothing else of ours: a PYTHONPATH or a site-packages folder made
# for another Python would hide its own numpy. Hence -I, and loading the package from its folder.
_START = """
import importlib.util, runpy, sys
folder = sys.argv.pop(1)
spec = importlib.util.spec_from_file_location(
    "stvla_ros", folder + "/__init__.py", submodule_search_locations=[folder]
)
sys.modules["stvla_ros"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(sys.modules["stvla_ros"])
runpy.run_module("stvla_ros.sim.remote.server", run_name="__main__", alter_sys=True)
"""


class WorkerError(RuntimeError):
    """A worker process died, does not answer, or was closed. The message names it."""


class WorkerEnvironment(Environment):
    """Drives an `Environment` in a worker process. It behaves as the environment itself.

    Errors of the environment are raised here with the same built-in type or as `InputError`, others as RuntimeError.

    :param python: interpreter of the worker; it has numpy, scipy and everything that the environment needs.
    :param factory: ``module:function`` or ``/path/to/file.py:function``; the function runs in the worker and returns
        the environment.
    :param arguments: keyword arguments of the function, in types that JSON can hold.
    :param name: name of the worker in error messages.
    :param variables: environment variables that are added for the worker's process.
    :param start_timeout_s: seconds for starting the interpreter and making the environment.
    :param timeout_s: seconds for one call (a reset may load a scene).
    :raises WorkerError: when the process dies or takes longer than that; it is then ended.
    """

    def __init__(
        self,
        python: Path,
        factory: str,
        arguments: Mapping[str, Any],
        *,
        name: str,
        variables: Mapping[str, str] | None = None,
        start_timeout_s: float = 300.0,
        timeout_s: float = 120.0,
    ) -> None:
        self._name = name
        self._timeout_s = timeout_s
        self._gone: str | None = None
        ours, theirs = socket.socketpair()
        lifeline, self._lifeline = os.pipe()
        self._connection = ours
        command = [os.fspath(python), "-I", "-c", _START, str(Path(stvla_ros.__file__).parent)]
        command += ["--factory", factory, "--arguments", json.dumps(dict(arguments)), "--name", name]
        command += ["--socket", str(theirs.fileno()), "--lifeline", str(lifeline)]
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=2,  # simulators print a lot; it must not mix with our standard output
                pass_fds=(theirs.fileno(), lifeline),
                env={**os.environ, **(variables or {})},
            )
        except OSError as error:
            ours.close()
            os.close(self._lifeline)
            raise InputError(f"interpreter {python} of worker {name}: cannot be started ({error.strerror})") from error
        finally:
            theirs.close()
            os.close(lifeline)
        try:
            self.info = protocol.info_from_message(self._reply(start_timeout_s))
        except BaseException:
            self.close()
            raise

    @property
    def pid(self) -> int:
        """The worker's process id."""
        return self._process.pid

    def reset(self, episode_id: int, seed: int = 0) -> Observation:
        return protocol.observation_from_message(self._ask({"call": "reset", "episode_id": episode_id, "seed": seed}))

    def reset_random(self, seed: int, half: str = "") -> Observation:
        return protocol.observation_from_message(self._ask({"call": "reset_random", "seed": seed, "half": half}))

    def step(self, action: EndEffectorAction) -> StepResult:
        return protocol.step_from_message(self._ask({"call": "step", "action": protocol.action_to_message(action)}))

    @property
    def instruction(self) -> str:
        return self._ask({"call": "instruction"})

    def expert_action(self) -> EndEffectorAction | None:
        message = self._ask({"call": "expert_action"})
        return None if message is None else protocol.action_from_message(message)

    def goal_conditions(self) -> Mapping[str, bool]:
        return self._ask({"call": "goal_conditions"})

    def scene_points(self) -> np.ndarray | None:
        return self._ask({"call": "scene_points"})

    def close(self) -> None:
        """End the worker: it may close its environment first, then it is killed. Safe to call twice."""
        if self._gone is None:
            self._end("is closed", grace_s=5.0)

    def __del__(self) -> None:
        if getattr(self, "_process", None) is not None:
            self.close()

    def _ask(self, request: dict[str, Any]) -> Any:
        if self._gone is not None:
            raise WorkerError(f"worker {self._name} {self._gone}")
        try:
            protocol.send(self._connection, request)
        except protocol.ConnectionClosed:
            self._died()
        return self._reply(self._timeout_s)

    def _reply(self, timeout_s: float) -> Any:
        try:
            reply = protocol.receive(self._connection, timeout_s)
        except protocol.ConnectionClosed:
            self._died()
        except TimeoutError:
            self._fail(f"(pid {self.pid}) did not answer within {timeout_s:g} s and was ended")
        except ValueError as error:
            self._fail(f"(pid {self.pid}) sent something that is not a message ({error}) and was ended")
        if "error" in reply:
            raise _error_named(reply["error"], reply["message"])
        return reply["value"]

    def _died(self) -> None:
        try:
            status = self._process.wait(timeout=5.0)
        except subprocess.TimeoutExpired:
            self._fail(f"(pid {self.pid}) closed its connection")
        how = f"was killed by {signal.Signals(-status).name}" if status < 0 else f"ended with exit status {status}"
        self._fail(f"(pid {self.pid}) {how}; its output above may say why")

    def _fail(self, what: str) -> None:
        self._end(what, grace_s=0.0)
        raise WorkerError(f"worker {self._name} {what}") from None

    def _end(self, what: str, grace_s: float) -> None:
        self._gone = what
        self._connection.close()  # tells the worker to finish
        try:
            self._process.wait(timeout=grace_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._lifeline)


def _error_named(name: str, message: str) -> Exception:
    if name == InputError.__name__:
        return InputError(message)
    kind = getattr(builtins, name, None)
    # Some built-in types (UnicodeDecodeError) need more than a message.
    if isinstance(kind, type) and issubclass(kind, Exception) and not issubclass(kind, UnicodeError):
        return kind(message)
    return RuntimeError(f"{name}: {message}")
