"""The action server on a bench: its goals, its alarm and its clock are the test's."""

import re
from collections.abc import Callable
from types import SimpleNamespace

from any_message import NOW_NS
from node_bench import Bench, checked
from rclpy.action import GoalResponse

from stvla_ros.action import ExecuteInstruction


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
