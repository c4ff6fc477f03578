"""Starts a graph's processes, prefixes their output, and stops all of them together."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import IO

from stvla_ros.child_process import killed_with_parent
from stvla_ros.errors import InputError
from stvla_ros.graph.place import place_of
from stvla_ros.graph.specification import Graph, NodeSpec
from stvla_ros.nodes.executables import module_of

# Time for a node to end by itself after SIGINT (a bag to close, a video to finish), then after SIGTERM.
INTERRUPT_GRACE_S = 15.0
TERMINATE_GRACE_S = 3.0
# Time between a node's failure and its restart.
RESTART_DELAY_S = 1.0
# Exit code of a node whose parameters are bad: a restart would end the same way.
BAD_PARAMETERS = 2
CONSEQUENCES = {"stop": "stopping all", "restart": "starting it again", "ignore": "the others continue"}


def node_command(node: NodeSpec, graph: Graph) -> list[str]:
    """The command line of one process. :raises InputError: when another package's program is missing."""
    if node.command:
        _, executable, *arguments = node.command
        path = shutil.which(executable)
        if path is None:
            raise InputError(f"{executable}: not found on PATH; it comes with a ROS 2 distribution")
        command = [path, *arguments]
    else:
        command = [sys.executable, "-m", node.module or module_of(node.executable)]
    command += ["--ros-args", *graph.ros_arguments(node)]
    if graph.namespace:
        command += ["-r", f"__ns:={graph.namespace}"]
    for file in graph.parameter_files:
        command += ["--params-file", str(file)]
    for inner, outer in node.remappings.items():
        command += ["-r", f"{inner}:={outer}"]
    return command


def run_graph(graph: Graph) -> int:
    """Run until one of these: a process ends that ends the graph, a process fails that the others need, or Ctrl-C.

    :return: 0 when the graph ended as it should, 130 after Ctrl-C, else 1 after a line that names the process.
    :raises InputError: when somebody is there already who would be mixed up with it, or a program is missing.
    """
    commands = {node.executable: node_command(node, graph) for node in graph.nodes}
    with place_of(graph) as (environment, note):
        if note:
            print(f"note: {note}", flush=True)
        return _run(commands, graph, environment)


def _run(commands: Mapping[str, list[str]], graph: Graph, environment: Mapping[str, str]) -> int:
    interrupted = threading.Event()
    previous = {s: signal.signal(s, lambda *_: interrupted.set()) for s in (signal.SIGINT, signal.SIGTERM)}
    started = _Processes(commands, environment)
    try:
        for name in commands:
            started.start(name)
        return _watch(started, {node.executable: node for node in graph.nodes}, interrupted)
    finally:
        started.stop()
        for number, handler in previous.items():
            signal.signal(number, handler)


class _Processes:
    """
    :param commands: command line of each process, by its name.
    :param environment: variables that they get beside this process' own.
    """

    def __init__(self, commands: Mapping[str, list[str]], environment: Mapping[str, str]) -> None:
        self._commands = commands
        self._environment = {
            **os.environ,
            **environment,
            "PYTHONUNBUFFERED": "1",
            "RCUTILS_CONSOLE_OUTPUT_FORMAT": "{severity}: {message}",
        }
        self._lock = threading.Lock()
        self._readers: list[threading.Thread] = []
        self.running: dict[str, subprocess.Popen] = {}

    def start(self, name: str) -> None:
        self.running[name] = process = subprocess.Popen(
            self._commands[name],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env=self._environment,
            # In a session of its own: Ctrl-C in the terminal then reaches only the supervisor, which stops all
            # processes in order.
            start_new_session=True,
            preexec_fn=killed_with_parent,
        )
        self._readers.append(threading.Thread(target=_relay, args=(name, process.stdout, self._lock), daemon=True))
        self._readers[-1].start()

    def stop(self) -> None:
        _stop(self.running.values())
        for reader in self._readers:
            reader.join(1.0)


def _relay(name: str, stream: IO[str], lock: threading.Lock) -> None:
    for line in without_interrupts(stream):
        with lock:
            print(f"[{name}] {line.rstrip()}", flush=True)


def without_interrupts(lines: Iterable[str]) -> Iterator[str]:
    """Output without the tracebacks of processes that were stopped while they were starting: those are no errors."""
    held: list[str] = []
    for line in lines:
        if line.startswith("Traceback (most recent call last):") or (held and line.startswith((" ", "\n"))):
            held.append(line)
            continue
        if not (held and line.startswith("KeyboardInterrupt")):
            yield from held
            yield line
        held = []
    yield from held


def _watch(started: _Processes, nodes: Mapping[str, NodeSpec], interrupted: threading.Event) -> int:
    waiting: dict[str, float] = {}
    while not interrupted.wait(0.1):
        for name in [name for name, at in waiting.items() if time.monotonic() >= at]:
            del waiting[name]
            started.start(name)
        for name, process in list(started.running.items()):
            code = process.poll()
            if code is None:
                continue
            if code == 0 and nodes[name].ends_graph:
                return 0
            how = f"killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
            on_failure = "stop" if code == BAD_PARAMETERS else nodes[name].on_failure
            print(f"error: node {name} {how}; {CONSEQUENCES[on_failure]}", file=sys.stderr, flush=True)
            if on_failure == "stop":
                return 1
            # Processes that it left in its group would be in the way of the next one.
            _signal_group(started.running.pop(name), signal.SIGKILL)
            if on_failure == "restart":
                waiting[name] = time.monotonic() + RESTART_DELAY_S
    return 130


def _stop(processes: Iterable[subprocess.Popen]) -> None:
    for number, grace in (
        (signal.SIGINT, INTERRUPT_GRACE_S),
        (signal.SIGTERM, TERMINATE_GRACE_S),
        (signal.SIGKILL, 5.0),
    ):
        running = [process for process in processes if process.poll() is None]
        for process in running:
            _signal_group(process, number)
        ends = time.monotonic() + grace
        while any(process.poll() is None for process in running) and time.monotonic() < ends:
            time.sleep(0.05)
    for process in processes:
        # Processes that a node left in its group (a simulator's worker) end with it.
        _signal_group(process, signal.SIGKILL)


def _signal_group(process: subprocess.Popen, number: int) -> None:
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        pass
