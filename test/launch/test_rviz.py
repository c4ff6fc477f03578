"""config/stvla.rviz against the live graph: every topic is there, with the display's type and a QoS that connects."""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlparse
from urllib.request import url2pathname
from xml.etree import ElementTree

import pytest
import yaml
from rclpy.qos import (
    DurabilityPolicy,
    HistoryPolicy,
    QoSCompatibility,
    QoSProfile,
    ReliabilityPolicy,
    qos_check_compatible,
)
from started_graph import StartedGraph
from std_msgs.msg import String

from stvla_ros.graph.arguments import SimArguments
from stvla_ros.graph.assemble import sim_graph
from stvla_ros.robots.embodiments import embodiments
from stvla_ros.shared_files import config_directory

CONFIG = yaml.safe_load((config_directory() / "stvla.rviz").read_text())
DISPLAYS = CONFIG["Visualization Manager"]["Displays"]

# What rviz_default_plugins' displays subscribe to. TF takes no topic in the configuration: it listens to these two.
TYPES = {
    "rviz_default_plugins/Image": "sensor_msgs/msg/Image",
    "rviz_default_plugins/MarkerArray": "visualization_msgs/msg/MarkerArray",
    "rviz_default_plugins/RobotModel": "std_msgs/msg/String",
    "rviz_default_plugins/TF": "tf2_msgs/msg/TFMessage",
}
TF_TOPICS = {
    "/tf": QoSProfile(depth=100),
    "/tf_static": QoSProfile(depth=100, durability=DurabilityPolicy.TRANSIENT_LOCAL),
}


def _subscriptions() -> dict[str, tuple[str, QoSProfile]]:
    """By topic: message type and QoS of what rviz subscribes to."""
    found = {}
    for display in DISPLAYS:
        if display["Class"] == "rviz_default_plugins/Grid":
            continue
        type_name = TYPES[display["Class"]]
        if display["Class"] == "rviz_default_plugins/TF":
            found |= {topic: (type_name, qos) for topic, qos in TF_TOPICS.items()}
            continue
        topic = display.get("Description Topic") or display["Topic"]
        qos = QoSProfile(
            depth=topic["Depth"],
            history=HistoryPolicy[topic["History Policy"].upper().replace(" ", "_")],
            reliability=ReliabilityPolicy[topic["Reliability Policy"].upper().replace(" ", "_")],
            durability=DurabilityPolicy[topic["Durability Policy"].upper().replace(" ", "_")],
        )
        found[topic["Value"]] = (type_name, qos)
    return found


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartedGraph]:
    folder = tmp_path_factory.mktemp("graph")
    # Those of the default graph that publish for people; the bridge waits for the others, with its topics up.
    default = sim_graph(SimArguments(policy="expert"), folder).nodes
    nodes = [node for node in default if node.executable in ("compositor", "sim_bridge", "vla_server")]
    with StartedGraph("supervisor", nodes, folder) as live:
        yield live


def test_every_topic_is_in_the_graph_with_the_displays_type_and_a_qos_that_connects(graph: StartedGraph) -> None:
    subscriptions = _subscriptions()
    graph.wait_for_topics(*subscriptions)
    types = dict(graph.observer().get_topic_names_and_types())
    for topic, (type_name, qos) in subscriptions.items():
        assert types[topic] == [type_name], topic
        for publisher in graph.observer().get_publishers_info_by_topic(topic):
            compatible, reason = qos_check_compatible(publisher.qos_profile, qos)
            assert compatible != QoSCompatibility.ERROR, f"{topic}: {reason}"


def test_a_late_rviz_still_gets_the_robot(graph: StartedGraph, tmp_path: Path) -> None:
    _, qos = _subscriptions()["/robot_description"]
    graph.wait_for_topics("/robot_description")
    urdf = graph.receive(String, "/robot_description", qos).data
    links = {link.get("name") for link in ElementTree.fromstring(urdf).iter("link")}
    # rviz2 is started with the task's own base frame; without downloads the task is another robot's.
    rviz2 = sim_graph(SimArguments(rviz=True), tmp_path).nodes[-1].command
    assert rviz2[rviz2.index("-f") + 1] in links
    meshes = [mesh.get("filename") for mesh in ElementTree.fromstring(urdf).iter("mesh")]
    assert meshes
    # rviz gets the text alone, so that only whole addresses lead it to the files.
    assert all(Path(url2pathname(urlparse(mesh).path)).is_file() for mesh in meshes)


def test_image_overlay_traced_depth_traces_robot_and_frames_are_shown() -> None:
    shown = {
        "/image",
        "/overlay",
        "/thoughts",
        "/traced_depth",
        "/trace_markers",
        "/robot_description",
        "/tf",
        "/tf_static",
    }
    assert set(_subscriptions()) == shown
    assert all(display["Enabled"] for display in DISPLAYS)


def test_metric_depth_is_shown_on_a_fixed_scale() -> None:
    [depth] = [d for d in DISPLAYS if d["Class"].endswith("/Image") and d["Topic"]["Value"] == "/traced_depth"]
    assert depth["Normalize Range"] is False
    assert 0.0 <= depth["Min Value"] < depth["Max Value"] <= 3.0


def test_the_fixed_frame_is_the_default_robots_base() -> None:
    assert CONFIG["Visualization Manager"]["Global Options"]["Fixed Frame"] == embodiments()["widowx"].base_frame


def test_image_docks_are_named_after_their_displays() -> None:
    docks = set(CONFIG["Window Geometry"])
    assert {d["Name"] for d in DISPLAYS if d["Class"].endswith("/Image")} <= docks
