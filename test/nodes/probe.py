"""A node in the test's process that talks with others."""

import gc
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import rclpy
from camera_frames import INTRINSICS, scene
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from node_process import TIMEOUT_S
from rclpy.executors import ExternalShutdownException, ShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, Image
from std_srvs.srv import Trigger

from stvla_ros.nodes.kit.base import set_dds_defaults
from stvla_ros.nodes.kit.messages import array_to_image, make_camera_info, make_header, stamp_ns

# A transition takes a moment, or as long as a simulator needs to start.
ANSWER_S = 60.0
STATES = {"configure": "inactive", "activate": "active", "deactivate": "inactive", "cleanup": "unconfigured"}
QOS = QoSProfile(depth=100, reliability=ReliabilityPolicy.RELIABLE)


def shut_down(context: rclpy.Context | None = None) -> None:
    """After every graph in the test's own process. Nodes and contexts refer to each other, and until the collector
    finds them their participants live on; between participants of one process Fast DDS can deadlock (its issue 6502).
    """
    rclpy.try_shutdown(context=context)
    gc.collect()


class Heard(list[Any]):
    """The messages of one topic, as they come. An index waits until there is one: a test that asks for the newest
    message may be there before the first, since a subscription takes its time to find its publisher.
    """

    def __init__(self, topic: str) -> None:
        super().__init__()
        self.topic = topic

    def __getitem__(self, index: Any) -> Any:
        ends = time.monotonic() + TIMEOUT_S
        while True:
            try:
                return super().__getitem__(index)
            except IndexError:
                assert time.monotonic() < ends, f"topic {self.topic}: no message [{index}] in {TIMEOUT_S:g} s"
                time.sleep(0.01)


class Probe:
    """A node of the test's process, in a context of its own, that spins in a thread."""

    def __init__(self) -> None:
        set_dds_defaults()
        self.context = rclpy.Context()
        rclpy.init(context=self.context)
        self.node: Node = rclpy.create_node("probe", context=self.context)
        self._executor = SingleThreadedExecutor(context=self.context)
        self._executor.add_node(self.node)
        self._publishers: dict[str, Any] = {}
        self._clients: dict[str, Any] = {}
        self.statuses: dict[str, DiagnosticStatus] = {}
        self.status_times: dict[str, list[float]] = {}  # by the stamps, seconds
        self.node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, QOS)
        self._thread = threading.Thread(target=self._spin, daemon=True)
        self._thread.start()

    def _spin(self) -> None:
        try:
            self._executor.spin()
        except (ExternalShutdownException, ShutdownException):
            pass

    def close(self) -> None:
        self._executor.shutdown()
        self._thread.join(5.0)
        self.node.destroy_node()
        shut_down(self.context)

    def add_node(self, name: str) -> Node:
        """A further node of the test's."""
        node = rclpy.create_node(name, context=self.context)
        self._executor.add_node(node)
        return node

    # --- topics ---

    def listen(
        self,
        message_type: type,
        topic: str,
        callback: Callable[[Any], None] | None = None,
        qos: QoSProfile = QOS,
        on: Node | None = None,
    ) -> Heard:
        """
        :param callback: called with every message, in place of keeping it.
        :param on: a node that spins with the probe's (:meth:`add_node`); None: the probe's own.
        :return: the list that grows with every message.
        """
        messages = Heard(topic)
        (on or self.node).create_subscription(message_type, topic, callback or messages.append, qos)
        return messages

    def publish(self, topic: str, message: Any) -> None:
        if topic not in self._publishers:
            self._publishers[topic] = self.node.create_publisher(type(message), topic, QOS)
        self._publishers[topic].publish(message)

    def connect(self, **subscribers: int) -> None:
        """Make the publishers of `frame`, and wait until these topics have at least this many subscribers."""
        for topic, message_type in (("image", Image), ("sensor_depth", Image), ("camera_info", CameraInfo)):
            if topic not in self._publishers:
                self._publishers[topic] = self.node.create_publisher(message_type, topic, QOS)
        for topic, count in subscribers.items():
            self.until(
                lambda: self._publishers[topic].get_subscription_count() >= count, f"{count} subscribers of {topic}"
            )

    def frame(
        self, stamp: int, rgb: np.ndarray, depth: np.ndarray | None = None, intrinsics: np.ndarray = INTRINSICS
    ) -> None:
        """One RGB-D frame, as a camera sends it."""
        header = make_header(stamp, "camera")
        self.publish("camera_info", make_camera_info(intrinsics, rgb.shape[1], rgb.shape[0], header))
        if depth is not None:
            self.publish(
                "sensor_depth", array_to_image(depth, "16UC1" if depth.dtype == np.uint16 else "32FC1", header)
            )
        self.publish("image", array_to_image(rgb, "rgb8", header))

    def prime(self, answers: list[Any], begin: int, size: tuple[int, int] = (160, 120)) -> None:
        """Send frames with stamps before `begin` until the graph answers: by then all nodes have found each other."""
        (picture,), depth = scene(1, size)
        for number, stamp in enumerate(range(begin - 900_000_000, begin - 1, 10_000_000)):
            self.frame(stamp, picture, depth)
            ends = time.monotonic() + (0.3 if number < 40 else 1.5)
            while time.monotonic() < ends:
                if answers:
                    # Topics keep their order, so the answer to the newest frame is the last one. Some nodes leave it
                    # out; then a second of silence must do.
                    newest = lambda stamp=stamp: any(stamp_ns(each.header) == stamp for each in answers)  # noqa: E731
                    self.until(lambda: newest() or not self.grows(answers, 1.0), "the answers to the first frames end")
                    answers.clear()
                    return
                time.sleep(0.01)
        raise AssertionError("the graph does not answer")

    @staticmethod
    def grows(answers: list[Any], seconds: float = 0.2) -> bool:
        before = len(answers)
        time.sleep(seconds)
        return len(answers) > before

    # --- waiting ---

    def until(self, condition: Callable[[], Any], what: str | Callable[[], str], timeout_s: float = TIMEOUT_S) -> Any:
        """Wait for a condition.

        :param what: what is waited for, or a function that says it, with what was seen by then.
        :return: the condition's first true value.
        """
        ends = time.monotonic() + timeout_s
        while not (value := condition()):
            if time.monotonic() >= ends:
                raise AssertionError(f"did not happen in {timeout_s:g} s: {what() if callable(what) else what}")
            time.sleep(0.01)
        return value

    # --- diagnostics ---

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            name = status.name.lstrip("/")
            self.statuses[name] = status
            stamp = message.header.stamp
            self.status_times.setdefault(name, []).append(stamp.sec + stamp.nanosec * 1e-9)

    def values(self, node: str) -> dict[str, float]:
        """The newest figures of a node; empty before there are any."""
        status = self.statuses.get(node)
        return {item.key: float(item.value) for item in status.values} if status else {}

    def says(self, node: str, text: str, timeout_s: float = TIMEOUT_S) -> str:
        """Wait until the node's status has this text. :return: the whole message."""
        found = lambda: node in self.statuses and text in self.statuses[node].message and self.statuses[node].message  # noqa: E731
        try:
            return self.until(found, f"{node} says {text!r}", timeout_s)
        except AssertionError as error:
            raise AssertionError(f"{error}; it says {self.statuses.get(node)}") from None

    # --- services ---

    def call(self, service_type: type, name: str, request: Any, timeout_s: float = TIMEOUT_S) -> Any:
        if name not in self._clients:
            self._clients[name] = self.node.create_client(service_type, name)
            assert self._clients[name].wait_for_service(timeout_s), f"no service {name}"
            # The client has found the server; the server drops its answer if it has not found the client yet.
            time.sleep(0.3)
        return self.result(self._clients[name].call_async(request), f"answer of {name}", timeout_s)

    def insist(self, name: str) -> None:
        """Call a Trigger service until it succeeds. A call is lost that comes before this node has found a server that
        took a killed one's place.
        """
        if name not in self._clients:
            self._clients[name] = self.node.create_client(Trigger, name)
        answers: list[Any] = []

        def succeeded() -> bool:
            answers.append(self._clients[name].call_async(Trigger.Request()))
            time.sleep(0.5)
            return any(each.done() and each.result().success for each in answers)

        said = lambda: [each.result().message for each in answers if each.done()][-1:]  # noqa: E731
        try:
            self.until(succeeded, f"the success of {name}")
        except AssertionError as error:
            raise AssertionError(f"{error}; it says {said()}") from None

    def result(self, future: Any, what: str, timeout_s: float = TIMEOUT_S) -> Any:
        self.until(future.done, what, timeout_s)
        return future.result()

    def begin(self, request: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        """Have the executor's thread call an action client's `…_async`.

        Any other thread can lose the answer, if it comes before the client has noted down its question.

        :return: the request's future.
        """
        task = self._executor.create_task(lambda: request(*arguments, **options))
        self.until(task.done, "the request is sent")
        return task.result()

    def ask(self, request: Callable[..., Any], what: str) -> Any:
        """As :meth:`begin`, and wait for the answer."""
        return self.result(self.begin(request), what)

    def change_state(self, node: str, transition: str) -> bool:
        """:param transition: configure, activate, deactivate, cleanup. :return: whether it succeeded."""
        request = ChangeState.Request(transition=Transition(id=getattr(Transition, f"TRANSITION_{transition.upper()}")))
        try:
            return self.call(ChangeState, f"/{node}/change_state", request, ANSWER_S).success
        except AssertionError:
            # The answer is lost if the node had not found this client yet; what it did can still be asked for.
            if self.state(node) == STATES[transition]:
                return True
            raise

    def state(self, node: str) -> str:
        return self.call(GetState, f"/{node}/get_state", GetState.Request()).current_state.label
