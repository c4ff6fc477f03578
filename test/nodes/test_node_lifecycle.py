"""What a node holds while it is configured, active and after: counted in the test's own process."""

from collections.abc import Iterator

import pytest
import rclpy
from probe import shut_down
from rclpy.lifecycle import TransitionCallbackReturn
from std_msgs.msg import Bool
from std_srvs.srv import Trigger

from stvla_ros.errors import InputError
from stvla_ros.nodes.kit.base import StvlaNode

SUCCESS, FAILURE = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE


class Example(StvlaNode):
    """Has one of each."""

    def __init__(self) -> None:
        super().__init__("example")
        self.heard: list[bool] = []
        self.freed = 0
        self.broken = ""

    def configure(self) -> None:
        self.said = self.create_publisher(Bool, "said", 1)
        self.create_service(Trigger, "~/ask", lambda request, response: response)
        self.create_client(Trigger, "asked")
        self.every(3600.0, lambda: None)
        self.start_worker("example", self.heard.append, 1)
        if self.broken == "configure":
            raise InputError("parameter example: expected something else")

    def activate(self) -> None:
        self.subscribe(Bool, "heard", lambda message: self.heard.append(message.data))
        if self.broken == "activate":
            raise InputError("topic heard: expected something else")

    def cleanup(self) -> None:
        self.freed += 1

    def held(self) -> tuple[int, ...]:
        entities = (self.publishers, self.services, self.clients, self.timers, self.subscriptions)
        return tuple(len(list(kind)) for kind in entities)

    def topics(self) -> list[str]:
        return [subscription.topic_name for subscription in self.subscriptions]


@pytest.fixture
def node() -> Iterator[Example]:
    rclpy.init(args=["--ros-args", "--log-level", "fatal"])
    made = Example()
    try:
        yield made
    finally:
        made.end()
        made.destroy_node()
        shut_down()


def test_a_deactivated_node_subscribes_to_nothing_and_frees_all_with_the_cleanup(node: Example) -> None:
    at_first = node.held()
    for _ in range(2):
        assert node.on_configure(None) == SUCCESS
        configured = node.held()
        assert [now - before for now, before in zip(configured, at_first)] == [1, 1, 1, 1, 0]
        assert node.on_activate(None) == SUCCESS
        assert node.is_active and "/heard" in node.topics()
        assert [now - before for now, before in zip(node.held(), configured)] == [0, 0, 0, 0, 1]
        assert node.on_deactivate(None) == SUCCESS
        assert not node.is_active and node.held() == configured
        assert node.on_cleanup(None) == SUCCESS
        assert node.held() == at_first
    assert node.freed == 2


def test_a_configure_that_fails_half_way_leaves_nothing_behind(node: Example) -> None:
    at_first = node.held()
    node.broken = "configure"
    assert node.on_configure(None) == FAILURE
    assert node.held() == at_first and node.freed == 1
    assert node.configure_error == "parameter example: expected something else"
    node.broken = ""
    assert node.on_configure(None) == SUCCESS
    assert node.configure_error == ""


def test_an_activation_that_fails_half_way_leaves_no_subscription(node: Example) -> None:
    assert node.on_configure(None) == SUCCESS
    node.broken = "activate"
    assert node.on_activate(None) == FAILURE
    assert not node.is_active and "/heard" not in node.topics()


def test_errors_of_one_kind_and_topic_are_logged_once_a_second_and_counted_all(
    node: Example, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, lines = 100.0, []
    monkeypatch.setattr("stvla_ros.nodes.kit.lifecycle.time.monotonic", lambda: now)
    monkeypatch.setattr(node, "get_logger", lambda: type("Log", (), {"error": staticmethod(lines.append)}))
    for topic, at in (("a", 0.0), ("a", 0.5), ("b", 0.6), ("a", 0.99), ("a", 1.0), ("b", 1.5), ("b", 1.6)):
        now = 100.0 + at
        node.reject("depth", f"topic {topic}: at {at}")
    assert lines == ["topic a: at 0.0", "topic b: at 0.6", "topic a: at 1.0", "topic b: at 1.6"]
    assert node.stage.values()["errors (depth)"] == 7
