"""What nodes say of themselves is what config/security/policy.xml allows them, in the form that SROS2 reads, and what
docs/reference/nodes.md tells of them.
"""

from pathlib import Path
from xml.etree import ElementTree

import pytest

from stvla_ros.graph.arguments import RobotArguments, SimArguments
from stvla_ros.graph.assemble import robot_graph, sim_graph
from stvla_ros.nodes.executables import executables
from stvla_ros.shared_files import config_directory
from stvla_ros.sim.tasks import resolve_task
from tools.asked_nodes import AskedNode, ask, started_nodes, usual_nodes
from tools.reference import PAGES, process_section
from tools.security_policy import OPERATOR, POLICY_FILE, as_xml, enclaves_of, with_operator

# By element: its attributes, and the elements in it. ROS 2 design article "Access Control Policies", version 0.2.0.
FORM = {
    "policy": ({"version"}, {"enclaves"}),
    "enclaves": (set(), {"enclave"}),
    "enclave": ({"path"}, {"profiles"}),
    "profiles": (set(), {"profile"}),
    "profile": ({"ns", "node"}, {"topics", "services", "actions"}),
    "topics": ({"publish", "subscribe"}, {"topic"}),
    "services": ({"reply", "request"}, {"service"}),
    "actions": ({"call", "execute"}, {"action"}),
    **dict.fromkeys(("topic", "service", "action"), (set(), set())),
}


@pytest.fixture(scope="module")
def policy() -> ElementTree.Element:
    return ElementTree.parse(config_directory() / POLICY_FILE).getroot()


def _enclave(policy: ElementTree.Element, path: str) -> str:
    found = policy.find(f"enclaves/enclave[@path='{path}']")
    ElementTree.indent(found)
    return ElementTree.tostring(found, encoding="unicode").strip()


def _names(policy: ElementTree.Element, enclave: str, kind: str, rule: str) -> set[str]:
    return {each.text for each in policy.findall(f"enclaves/enclave[@path='{enclave}']//{kind}[@{rule}='ALLOW']/*")}


# Two simulators are made for the bridge.
_PROCESSES = [pytest.param(name, marks=[pytest.mark.slow] if name == "sim_bridge" else []) for name in executables()]


@pytest.fixture(scope="module", params=_PROCESSES)
def asked(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[AskedNode]:
    """What the nodes of a process have."""
    if request.param == "sim_bridge" and (missing := resolve_task(SimArguments.task)[1]):
        pytest.skip(missing)
    if request.param in ("joint_position_driver", "fake_controllers", "moveit_servo_driver"):
        for package in ("controller_manager_msgs", "control_msgs", "moveit_msgs"):
            pytest.importorskip(package, reason=f"fallback/{package} is not built")
    if request.param in ("widowx_driver", "fake_xs_arm", "sim_bridge"):
        pytest.importorskip("interbotix_xs_msgs", reason="fallback/interbotix_xs_msgs is not built")
    folder = tmp_path_factory.mktemp(request.param)
    return ask([node for node in usual_nodes(folder) if node.executable == request.param], folder)


def test_the_file_has_what_the_nodes_of_a_process_have(asked: list[AskedNode], policy: ElementTree.Element) -> None:
    path = f"/{asked[0].executable}"
    made = ElementTree.fromstring(as_xml(enclaves_of(asked)).encode())
    assert _enclave(policy, path) == _enclave(made, path), "the nodes have changed: python -m tools.security_policy"


def test_the_reference_has_what_the_nodes_of_a_process_have(asked: list[AskedNode]) -> None:
    section = process_section(asked[0].executable, asked)
    assert section in (PAGES / "nodes.md").read_text() + "\n", "the nodes have changed: python -m tools.reference"


def test_every_process_has_an_enclave_and_so_has_the_operator(policy: ElementTree.Element) -> None:
    paths = [enclave.get("path") for enclave in policy.iter("enclave")]
    assert paths == sorted(f"/{name}" for name in (*executables(), OPERATOR))


def test_the_processes_of_a_graph_are_started_in_the_enclaves_of_the_file(
    policy: ElementTree.Element, tmp_path: Path
) -> None:
    paths = {enclave.get("path") for enclave in policy.iter("enclave")}
    graphs = [
        sim_graph(SimArguments(policy="expert", record=True), tmp_path),
        sim_graph(SimArguments(policy="expert", fused=True), tmp_path),
        robot_graph(RobotArguments(policy="random", use_fake_hardware=True), tmp_path),
    ]
    assert {graph.enclave(node) for graph in graphs for node in graph.nodes} <= paths


def test_the_file_has_the_form_of_a_policy(policy: ElementTree.Element) -> None:
    assert policy.get("version") == "0.2.0"
    for element in policy.iter():
        attributes, children = FORM[element.tag]
        assert element.attrib.keys() <= attributes
        assert {child.tag for child in element} <= children
        if element.tag in ("topics", "services", "actions"):
            assert list(element.attrib.values()) == ["ALLOW"]
            assert len(element)


def test_only_the_server_may_publish_commands_and_only_drivers_may_move_an_arm(policy: ElementTree.Element) -> None:
    def publishers(topic: str) -> set[str]:
        paths = [enclave.get("path") for enclave in policy.iter("enclave")]
        return {path for path in paths if topic in _names(policy, path, "topics", "publish")}

    assert publishers("command") == {"/vla_server", "/fused"}
    assert publishers("wx250s/commands/joint_group") == {"/widowx_driver"}
    assert publishers("target_pose") == {"/google_robot_driver"}
    assert publishers("servo_node/delta_twist_cmds") == {"/moveit_servo_driver"}
    assert publishers("estop") == {"/operator"}


def test_the_operator_may_reset_every_driver_and_send_goals(policy: ElementTree.Element) -> None:
    services = _names(policy, "/operator", "services", "request")
    assert {"widowx_driver/*", "google_robot_driver/*", "moveit_servo_driver/*", "robot_session/*"} <= services
    assert _names(policy, "/operator", "actions", "call") == {"execute_instruction"}


def test_what_a_command_starts_has_the_topics_that_it_was_given(tmp_path: Path) -> None:
    command = ["robot", "--policy", "random", "--robot", "google_robot", "--image-topic", "/front/image"]
    nodes = [node for node in started_nodes(command, tmp_path) if node.executable == "tracker"]
    made = ElementTree.fromstring(as_xml(enclaves_of(ask(nodes, tmp_path))).encode())
    pictures = {"/front/image", "/front/image/compressed", "/front/image/compressedDepth"}
    assert _names(made, "/tracker", "topics", "subscribe") == {*pictures, "episode_state"}


def test_in_a_namespace_relative_names_follow_and_absolute_ones_stay(tmp_path: Path) -> None:
    nodes = [node for node in started_nodes(["robot", "--policy", "random"], tmp_path) if node.executable == "tracker"]
    made = ElementTree.fromstring(as_xml(with_operator(enclaves_of(ask(nodes, tmp_path))), "/left").encode())
    assert [enclave.get("path") for enclave in made.iter("enclave")] == ["/left/operator", "/left/tracker"]
    assert {profile.get("ns") for profile in made.iter("profile")} == {"/left"}
    published = _names(made, "/left/tracker", "topics", "publish")
    assert {"traces", "~/transition_event", "/diagnostics", "/rosout"} <= published
    assert "~/reset" in _names(made, "/left/tracker", "services", "reply")


def test_who_takes_a_cameras_pictures_may_take_them_compressed(policy: ElementTree.Element) -> None:
    for enclave in ("tracker", "depth", "compositor", "vla_server", "fused"):
        allowed = _names(policy, f"/{enclave}", "topics", "subscribe")
        for topic in {"image", "sensor_depth"} & allowed:
            assert {f"{topic}/compressed", f"{topic}/compressedDepth"} <= allowed
        assert "image/compressed" in allowed
