"""A graph of real node processes under test: started, watched through ROS and /proc, and never left behind."""

import contextlib
import gc
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import rclpy
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile
from typing_extensions import Self

from stvla_ros.child_process import killed_with_parent
from stvla_ros.graph.domains import own_domain
from stvla_ros.graph.specification import NodeSpec
from stvla_ros.nodes.executables import module_of

_TOKEN = "STVLA_TEST_GRAPH"
START_TIMEOUT_S = 90.0


def _runs(command: list[bytes], executable: str) -> bool:
    names = (module_of(executable).encode(), f"/lib/stvla_ros/{executable}".encode())
    return any(part.endswith(names) for part in command)


class StartedGraph:
    """Use as a context manager.

    :param starter: ``supervisor`` or ``launch``.
    :param folder: where the graph's files and its output go.
    """

    def __init__(self, starter: str, nodes: Sequence[NodeSpec], folder: Path) -> None:
        self._folder = folder
        description = folder / "graph.json"
        description.write_text(json.dumps([asdict(node) for node in nodes]))
        self._token = uuid.uuid4().hex
        # Not the test process's own: killed nodes of the graph before would still be seen there for a while. Nor one in
        # which another test is: the graph would not start.
        self._stack = contextlib.ExitStack()
        self._domain = self._stack.enter_context(own_domain())
        environment = os.environ | {
            _TOKEN: self._token,
            "ROS_DOMAIN_ID": str(self._domain),
            "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
            "ROS_LOG_DIR": str(folder),
        }
        self._output = (folder / "output.txt").open("w")
        command = [sys.executable, str(Path(__file__).with_name("start_graph.py")), starter, str(description)]
        self.process = subprocess.Popen(
            command,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
            preexec_fn=killed_with_parent,
        )
        self._context = Context()
        self._observer: Node | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for pid in self.pids():
            os.kill(pid, signal.SIGKILL)
        self.process.wait()
        self._output.close()
        self._stack.close()
        if self._observer is not None:
            self._observer.destroy_node()
            rclpy.shutdown(context=self._context)
            # Its participant would live on until the collector came, see shut_down in test/nodes/probe.py.
            self._observer = self._context = None
            gc.collect()

    @property
    def output(self) -> str:
        return (self._folder / "output.txt").read_text()

    def pids(self, executable: str = "") -> list[int]:
        """Living processes of the graph, the starter's included; with ``executable``, those of one node."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                environment = (folder / "environ").read_bytes()
                command = (folder / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            # A zombie has no command line any more.
            if f"{_TOKEN}={self._token}".encode() not in environment or command == [b""]:
                continue
            if not executable or _runs(command, executable):
                found.append(int(folder.name))
        return found

    def observer(self) -> Node:
        """A node of the test in the graph's domain."""
        if self._observer is None:
            rclpy.init(context=self._context, domain_id=self._domain)
            self._observer = rclpy.create_node("test_observer", context=self._context)
        return self._observer

    def wait_for_topics(self, *topics: str) -> None:
        """Until every topic has a publisher. :raises AssertionError: when that takes too long or the graph ended."""
        ends = time.monotonic() + START_TIMEOUT_S
        observer = self.observer()
        while missing := [topic for topic in topics if not observer.count_publishers(topic)]:
            assert self.process.poll() is None, f"the graph ended:\n{self.output}"
            assert time.monotonic() < ends, f"no publishers on {missing}:\n{self.output}"
            time.sleep(0.05)

    def receive(self, message_type: type, topic: str, qos: QoSProfile) -> Any:
        """The first message that a new subscription gets. :raises AssertionError: when none comes."""
        received: list[Any] = []
        observer = self.observer()
        subscription = observer.create_subscription(message_type, topic, received.append, qos)
        executor = SingleThreadedExecutor(context=self._context)
        executor.add_node(observer)
        ends = time.monotonic() + START_TIMEOUT_S
        while not received:
            assert time.monotonic() < ends, f"no message on {topic}"
            executor.spin_once(timeout_sec=0.1)
        executor.remove_node(observer)
        observer.destroy_subscription(subscription)
        return received[0]

    def until(self, condition: Callable[[], Any], what: str) -> None:
        """:raises AssertionError: when it does not become true."""
        ends = time.monotonic() + START_TIMEOUT_S
        while not condition():
            assert time.monotonic() < ends, f"did not happen: {what}\n{self.output}"
            time.sleep(0.05)

    def wait_for_no_process(self, timeout_s: float = 60.0) -> None:
        ends = time.monotonic() + timeout_s
        while left := self.pids():
            assert time.monotonic() < ends, f"still alive: {left}"
            time.sleep(0.05)
