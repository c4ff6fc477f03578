"""The worker process of an environment that needs an interpreter of its own. `client` starts it.

``python -m stvla_ros.sim.remote.server --factory MODULE_OR_FILE:FUNCTION --arguments JSON --socket FD --lifeline FD``
makes the environment with ``FUNCTION(**arguments)`` and answers the client's requests until the client closes the
socket.
Needs numpy and scipy, and whatever the environment needs.
"""

import argparse
import fcntl
import importlib
import json
import os
import runpy
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from typing import Any

from stvla_ros.errors import InputError, reason_of
from stvla_ros.sim.environment import Environment, reset_at_random
from stvla_ros.sim.remote import protocol


def _die_with_the_client(lifeline: int) -> None:
    """Let the kernel end this process when the client is gone, even in the middle of native code.

    The client holds the other end of this pipe and never writes, so the only event is its end; SIGIO's default action
    ends the process. (PR_SET_PDEATHSIG would act when the starting *thread* ends, which may be long before the client.)
    """
    fcntl.fcntl(lifeline, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)


def _factory(name: str) -> Callable[..., Environment]:
    source, _, function = name.rpartition(":")
    if source.endswith(".py"):
        return runpy.run_path(source)[function]
    return getattr(importlib.import_module(source), function)


def _answer(environment: Environment, request: dict[str, Any]) -> Any:
    call = request["call"]
    if call == "reset":
        return protocol.observation_to_message(environment.reset(request["episode_id"], request["seed"]))
    if call == "reset_random":
        return protocol.observation_to_message(reset_at_random(environment, request["seed"], request["half"]))
    if call == "step":
        return protocol.step_to_message(environment.step(protocol.action_from_message(request["action"])))
    if call == "instruction":
        return environment.instruction
    if call == "expert_action":
        action = environment.expert_action()
        return None if action is None else protocol.action_to_message(action)
    if call == "goal_conditions":
        return dict(environment.goal_conditions())
    if call == "scene_points":
        return environment.scene_points()
    raise InputError(f"worker request: unknown call {call!r}")


def _failure(error: Exception) -> dict[str, Any]:
    # The traceback belongs in the log; an InputError explains itself.
    if not isinstance(error, InputError):
        traceback.print_exc(file=sys.stderr)
    return {"error": type(error).__name__, "message": reason_of(error, longest=2000)}


def serve(connection: socket.socket, make: Callable[[], Environment]) -> None:
    """Make the environment, tell the client about it, and answer its requests until it closes the connection."""
    try:
        environment = make()
    except Exception as error:  # the client raises every error
        protocol.send(connection, _failure(error))
        return
    try:
        protocol.send(connection, {"value": protocol.info_to_message(environment.info)})
        while True:
            request = protocol.receive(connection)
            try:
                reply = {"value": _answer(environment, request)}
            except Exception as error:  # as above; the environment stays usable
                reply = _failure(error)
            protocol.send(connection, reply)
    finally:
        environment.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--factory", required=True)
    parser.add_argument("--arguments", type=json.loads, default={})
    parser.add_argument("--name", help="shown by ps")
    parser.add_argument("--socket", type=int, required=True)
    parser.add_argument("--lifeline", type=int, required=True)
    options = parser.parse_args()
    _die_with_the_client(options.lifeline)
    # Ctrl-C reaches the whole process group; the client decides when to end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with socket.socket(fileno=options.socket) as connection:
        try:
            serve(connection, lambda: _factory(options.factory)(**options.arguments))
        except protocol.ConnectionClosed:
            pass  # the client is done


if __name__ == "__main__":
    main()
