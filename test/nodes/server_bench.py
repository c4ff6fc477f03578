"""The action server on a bench: its goals, its alarm and its clock are the test's."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
from any_message import NOW_NS, wire
from camera_frames import INTRINSICS
from node_bench import Bench, bench, checked
from pytest import MonkeyPatch
from rclpy.action import GoalResponse

from stvla_ros.action import ExecuteInstruction
from stvla_ros.nodes.kit.messages import array_to_image, make_camera_info, make_header
from stvla_ros.nodes.server import vla_server
from stvla_ros.nodes.server.vla_server import VlaServerNode


class Alarm:
    """Rings at once when it is woken."""

    def __init__(self, name: str, ring: Callable[[], float | None], on_error: Callable[[Exception], None]) -> None:
        self._ring, self._on_error = ring, on_error

    def wake(self) -> None:
        try:
            self._ring()
        except Exception as error:
            self._on_error(error)

    def stop(self) -> None:
        pass


class Handle:
    """A goal as rclpy's action server hands it over."""

    def __init__(self, server: "Server", request: ExecuteInstruction.Goal) -> None:
        self.request, self.goal_id = request, SimpleNamespace(uuid=bytes([1 + server.goals % 255] * 16))
        self._server = server
        self.canceled = self.succeed = self.abort = lambda: None

    def execute(self) -> None:
        self._server.running.append(self._server.node._goals._execute(self))

    def publish_feedback(self, feedback: ExecuteInstruction.Feedback) -> None:
        self._server.feedback.append(checked(feedback))


class Server:
    """The server on the bench, and its goals."""

    def __init__(self, made: Bench) -> None:
        self.bench, self.node = made, made.node
        self.goals, self.running = 0, []
        self.feedback: list[ExecuteInstruction.Feedback] = []
        # Those of the action, by their gids.
        self.clients = {(1,)}
        made.node._goals._clients = lambda: self.clients
        self.now_ns = NOW_NS
        made.node.now_ns = lambda: self.now_ns
        made.node.reject = self._reject
        self._refuse = type(made.node).reject

    def _reject(self, kind: str, message: str) -> None:
        # A policy may raise anything, which ends its goal. These policies raise what is no InputError by mistake alone.
        assert not re.match(r"policy \w+: [A-Z]\w*: ", message), message
        self._refuse(self.node, kind, message)

    def goal(self, request: ExecuteInstruction.Goal) -> None:
        self.goals += 1
        goals = self.node._goals
        if self.bench.run(lambda: goals._on_goal(request)) != GoalResponse.ACCEPT:
            return
        handle = Handle(self, request)
        self.bench.run(lambda: goals._on_accepted(handle))
        self.tell_results()

    def observe(self, rgb: np.ndarray, depth: np.ndarray, depth_topic: str = "depth") -> int:
        """An observation now. :returns: its stamp."""
        header = make_header(self.now_ns, "camera")
        for topic, message in (
            ("camera_info", make_camera_info(INTRINSICS, rgb.shape[1], rgb.shape[0], header)),
            (depth_topic, array_to_image(depth, "32FC1", header)),
            ("image", array_to_image(rgb, "rgb8", header)),
        ):
            self.bench.receive(topic, wire(message))
        return self.now_ns

    def ring(self, seconds: float) -> None:
        """Let time go by, and what is due then leave."""
        self.now_ns += round(seconds * 1e9)
        self.bench.run(self.node._alarm.wake)

    def tell_results(self) -> None:
        for waiting in list(self.running):
            try:
                waiting.send(None)
            except StopIteration as ended:
                checked(ended.value)
                self.running.remove(waiting)


@contextmanager
def served(*parameters: str) -> Iterator[Server]:
    """A started server.

    :param parameters: like ``policy:=expert``.
    """
    with MonkeyPatch.context() as patch:
        patch.setattr(vla_server, "Alarm", Alarm)
        with bench(VlaServerNode, *parameters) as made:
            yield Server(made)
