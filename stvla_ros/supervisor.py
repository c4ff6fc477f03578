"""Starts a graph's processes, prefixes their output, and stops all of them together."""

import ctypes
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable
from typing import IO

from stvla_ros.errors import InputError
from stvla_ros.graph import Graph, NodeSpec

# What a node gets to end by itself after SIGINT (a bag to close, a video to finish), then after SIGTERM.
INTERRUPT_GRACE_S = 15.0
TERMINATE_GRACE_S = 3.0

_libc = ctypes.CDLL(None)
_PR_SET_PDEATHSIG = 1


def _die_with_parent() -> None:
    """Have the kernel kill the child when the supervisor dies, however it dies (Linux)."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def node_command(node: NodeSpec, graph: Graph) -> list[str]:
    """The command line of one process. :raises InputError: when another package's program is missing."""
    if node.command:
        _, executable, *arguments = node.command
        path = shutil.which(executable)
        if path is None:
            raise InputError(f"{executable}: not found on PATH; it comes with a ROS 2 distribution")
        command = [path, *arguments]
    else:
        command = [sys.executable, "-m", f"stvla_ros.nodes.{node.executable}"]
    command += ["--ros-args"]
    for file in graph.parameter_files:
        command += ["--params-file", str(file)]
    for inner, outer in node.remappings.items():
        command += ["-r", f"{inner}:={outer}"]
    return command


def run_graph(graph: Graph) -> int:
    """Run until a process that ends the graph exits, any process fails, or Ctrl-C.

    :return: 0 when the graph ended as it should, 130 after Ctrl-C, else 1 after a line that names the process.
    """
    commands = {node.executable: node_command(node, graph) for node in graph.nodes}
    ends_graph = {node.executable for node in graph.nodes if node.ends_graph}
    environment = os.environ | {"PYTHONUNBUFFERED": "1", "RCUTILS_CONSOLE_OUTPUT_FORMAT": "{severity}: {message}"}
    interrupted = threading.Event()
    previous = {s: signal.signal(s, lambda *_: interrupted.set()) for s in (signal.SIGINT, signal.SIGTERM)}
    processes: dict[str, subprocess.Popen] = {}
    readers: list[threading.Thread] = []
    lock = threading.Lock()
    try:
        for name, command in commands.items():
            processes[name] = subprocess.Popen(
                command,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                env=environment,
                # A session of its own: Ctrl-C in the terminal reaches the supervisor alone, which then stops all in
                # order.
                start_new_session=True,
                preexec_fn=_die_with_parent,
            )
            readers.append(threading.Thread(target=_relay, args=(name, processes[name].stdout, lock), daemon=True))
            readers[-1].start()
        return _watch(processes, ends_graph, interrupted)
    finally:
        _stop(processes.values())
        for reader in readers:
            reader.join(1.0)
        for number, handler in previous.items():
            signal.signal(number, handler)


def _relay(name: str, stream: IO[str], lock: threading.Lock) -> None:
    for line in stream:
        with lock:
            print(f"[{name}] {line.rstrip()}", flush=True)


def _watch(processes: dict[str, subprocess.Popen], ends_graph: set[str], interrupted: threading.Event) -> int:
    while not interrupted.wait(0.1):
        for name, process in processes.items():
            code = process.poll()
            if code is None:
                continue
            if code == 0 and name in ends_graph:
                return 0
            how = f"killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
            print(f"error: node {name} {how}; stopping all", file=sys.stderr, flush=True)
            return 1
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
        # Whatever a node left in its group (a simulator's worker) goes with it.
        _signal_group(process, signal.SIGKILL)


def _signal_group(process: subprocess.Popen, number: int) -> None:
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        pass
