"""The full name of the node at the end of a topic, and what is said where rmw knows none."""

from types import SimpleNamespace

import pytest
from rclpy.qos import QoSProfile

from stvla_ros.doctor.listener import _publisher
from stvla_ros.nodes.kit.endpoints import node_of, shown_node_of

UNNAMED = ["_NODE_NAME_UNKNOWN_", "_CREATED_BY_BARE_DDS_APP_"]


def endpoint(name: str, where: str = "/") -> SimpleNamespace:
    kind = "sensor_msgs/msg/Image"
    return SimpleNamespace(node_namespace=where, node_name=name, topic_type=kind, qos_profile=QoSProfile(depth=1))


@pytest.mark.parametrize(
    ("where", "full"), [("/", "/camera"), ("", "/camera"), ("/left", "/left/camera"), ("/a/b/", "/a/b/camera")]
)
def test_a_name_is_full_in_every_namespace(where: str, full: str) -> None:
    assert node_of(endpoint("camera", where)) == shown_node_of(endpoint("camera", where)) == full


@pytest.mark.parametrize("name", UNNAMED)
def test_rmws_word_for_an_unknown_node_is_no_name(name: str) -> None:
    assert node_of(endpoint(name)) == ""
    assert shown_node_of(endpoint(name)) == "unknown name"


@pytest.mark.parametrize("name", UNNAMED)
def test_the_doctor_names_no_node_that_is_none(name: str) -> None:
    assert _publisher(endpoint(name)).node == "unknown name"
    assert _publisher(endpoint("camera", "/left")).node == "/left/camera"
