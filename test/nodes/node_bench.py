"""A real node whose ends are in the test's hands: what comes in is called, what goes out is kept."""

from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import rclpy
from probe import shut_down
from pytest import MonkeyPatch
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.serialization import serialize_message

from stvla_ros.errors import InputError
from stvla_ros.nodes.kit import lifecycle
from stvla_ros.nodes.kit.base import StvlaNode
from stvla_ros.nodes.kit.threads import Worker


class _WorkAtOnce(Worker):
    """A worker whose items are processed where they are submitted, so that the test sees what they raise."""

    def __init__(self, name: str, process: Callable, queue_size: int, on_drop: Callable, on_error: Callable) -> None:
        self._process, self._on_error = process, on_error

    def submit(self, item: Any) -> None:
        try:
            self._process(item)
        except Exception as error:
            self._on_error(error)

    def is_idle(self) -> bool:
        return True

    def run_idle(self, action: Callable[[], None], timeout_s: float) -> bool:
        action()
        return True

    def stop(self, timeout_s: float = 5.0) -> None:
        pass


def checked(message: Any) -> Any:
    """The message, if each of its fields can hold what it was given: rclpy does not look, and sends other numbers."""
    fields = {}
    for name in message.get_fields_and_field_types():
        value = getattr(message, name)
        if hasattr(value, "SLOT_TYPES"):
            value = checked(value)
        elif isinstance(value, list) and value and hasattr(value[0], "SLOT_TYPES"):
            value = [checked(each) for each in value]
        fields[name] = value
    return type(message)(check_fields=True, **fields)


class Publisher:
    """Keeps what is published, if it can be sent at all."""

    def __init__(self, kind: type, topic: str) -> None:
        self.kind, self.topic_name = kind, topic
        self.messages: list[Any] = []

    def publish(self, message: Any) -> None:
        assert isinstance(message, self.kind)
        serialize_message(checked(message))
        self.messages.append(message)

    def get_subscription_count(self) -> int:
        return 1


class Client:
    """A service that answers at once, if it is there.

    :param answer: called with the request; what it returns is the response.
    """

    def __init__(self, kind: type, name: str, answer: Callable[[Any], Any]) -> None:
        self.kind, self.srv_name, self._answer = kind, name, answer

    def service_is_ready(self) -> bool:
        return True

    def call_async(self, request: Any) -> Any:
        response = self._answer(request)
        return SimpleNamespace(done=lambda: response is not None, result=lambda: response)

    def remove_pending_request(self, future: Any) -> None:
        pass


class Bench:
    """
    :param make: the node.
    :param answer: of the services that the node calls; None: they say nothing.
    """

    def __init__(self, make: Callable[[], StvlaNode], answer: Callable[[Any], Any] = lambda request: None) -> None:
        self.node = node = make()
        self._callbacks: dict[str, list[tuple[type, Callable]]] = defaultdict(list)
        self.publishers: dict[str, Publisher] = {}
        self.services: dict[str, tuple[type, Callable]] = {}
        self.timers: list[Callable[[], None]] = []
        self._failures: list[Exception] = []
        node.survive = self._survive
        node.create_subscription = self._subscribe
        node.create_publisher = self._publish
        node.create_service = lambda kind, name, callback: self.services.update({name: (kind, callback)})
        node.create_client = lambda kind, name: Client(kind, name, answer)
        node.every = lambda period_s, callback: self.timers.append(callback)
        node.destroy_subscription = self._unsubscribe

    def start(self) -> None:
        """Configure and activate, from whatever state."""
        self.stop()
        self.publishers, self.services, self.timers = {}, {}, []
        for step in (self.node.on_configure, self.node.on_activate):
            assert step(None) == TransitionCallbackReturn.SUCCESS, self.node.configure_error

    def stop(self) -> None:
        self.node.end()
        self.unsubscribe()

    def unsubscribe(self) -> None:
        """From all that the node has subscribed to."""
        self._callbacks.clear()

    def receive(self, topic: str, message: Any) -> None:
        """Have the node's callbacks take a message. Whatever comes out but bad input fails the test."""
        found = self._callbacks[topic]
        assert found, f"{self.node.get_name()} does not subscribe to {topic}, but to {', '.join(self._callbacks)}"
        for _, callback in found:
            self.run(lambda: callback(message))

    def call(self, service: str, request: Any = None) -> Any:
        kind, callback = self.services[service]
        return self.run(lambda: callback(request or kind.Request(), kind.Response()))

    def run(self, action: Callable[[], Any]) -> Any:
        result = None
        try:
            result = action()
        except InputError as error:
            self.node.reject("input", str(error))
        if self._failures:
            raise self._failures.pop(0)
        return result

    @property
    def topics(self) -> set[str]:
        return set(self._callbacks)

    def sent(self, topic: str) -> list[Any]:
        return self.publishers[topic].messages

    def forget(self) -> None:
        """What was published."""
        for publisher in self.publishers.values():
            publisher.messages.clear()

    def _survive(self, error: Exception) -> None:
        if isinstance(error, InputError):
            self.node.reject("input", str(error))
        else:
            self._failures.append(error)

    def _subscribe(self, kind: type, topic: str, callback: Callable, qos_profile: Any = 10, raw: bool = False) -> Any:
        self._callbacks[topic].append((kind, callback))
        return SimpleNamespace(topic=topic, callback=(kind, callback))

    def _unsubscribe(self, subscription: Any) -> None:
        # The node's own ones, such as that of its clock, are no concern of the bench.
        if isinstance(subscription, SimpleNamespace) and subscription.callback in self._callbacks[subscription.topic]:
            self._callbacks[subscription.topic].remove(subscription.callback)
            if not self._callbacks[subscription.topic]:
                del self._callbacks[subscription.topic]

    def _publish(self, kind: type, topic: str, qos: Any) -> Publisher:
        return self.publishers.setdefault(topic, Publisher(kind, topic))


@contextmanager
def ros(*parameters: str) -> Iterator[None]:
    """A context, the default one, for the nodes that are made in it.

    :param parameters: like ``robot:=widowx``.
    """
    arguments = [word for parameter in parameters for word in ("-p", parameter)]
    rclpy.init(args=["--ros-args", "--log-level", "fatal", *arguments])
    patch = MonkeyPatch()
    patch.setattr(lifecycle, "Worker", _WorkAtOnce)
    try:
        yield
    finally:
        patch.undo()
        shut_down()


@contextmanager
def bench(
    make: Callable[[], StvlaNode], *parameters: str, answer: Callable[[Any], Any] = lambda request: None
) -> Iterator[Bench]:
    """A started node in a context of its own."""
    with ros(*parameters):
        made = Bench(make, answer)
        try:
            made.start()
            yield made
            made.run(made.node.publish_diagnostics)
        finally:
            made.stop()
            made.node.destroy_node()
            del made
