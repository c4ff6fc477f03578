"""Names: namespaces, the parts of a graph, parameter files, and the topics on which a node alone may speak."""

import os
import socket
from datetime import datetime, tzinfo
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml
from graph_parts import names_of, node_of, parameters_of, take_for_a_recording

from stvla_ros.errors import InputError
from stvla_ros.graph import domains
from stvla_ros.graph.arguments import RobotArguments, SimArguments
from stvla_ros.graph.assemble import robot_graph, sim_graph
from stvla_ros.graph.domains import own_domain, takes_own_domain
from stvla_ros.graph.names import OF_DRIVERS, absolute_namespace, alone, full_name, matches
from stvla_ros.graph.run import describe_graph
from stvla_ros.graph.specification import Graph
from stvla_ros.graph.supervisor import node_command
from stvla_ros.nodes.executables import executables
from stvla_ros.robots.embodiments import embodiments, find_embodiment
from stvla_ros.shared_files import config_directory

# What several nodes may publish.
_SHARED = {"robot_description"}


def _sim(tmp_path: Path, **arguments: Any) -> Graph:
    return sim_graph(SimArguments(policy="expert", task="panda_pick_cube", **arguments), tmp_path / "run")


def _robot(tmp_path: Path, **arguments: Any) -> Graph:
    return robot_graph(RobotArguments(policy="random", **arguments), tmp_path / "run")


def test_the_topics_of_each_node_alone_are_those_that_it_publishes() -> None:
    policy = ElementTree.parse(config_directory() / "security" / "policy.xml")
    drivers = {name for name in executables() if name.endswith("_driver")}
    seen = set()
    for profile in policy.iter("profile"):
        node = profile.get("node")
        own = {
            topic.text
            for topics in profile.iter("topics")
            if topics.get("publish")
            for topic in topics
            if not topic.text.startswith(("/", "~"))
        } - _SHARED
        if node in drivers:
            assert set(OF_DRIVERS) <= own
        elif node == "replay":
            # It is asked with a robot's camera topics in their place.
            assert len(own) == len(alone(node)) == 3
        elif not node.startswith("fake_") and node != "operator":
            # xs_sdk's topics beside them: which these are is the robot's file's business.
            assert set(alone(node)) == {name for name in own if not name.startswith("wx250s/")}, node
        seen.add(node)
    assert {"tracker", "vla_server", "sim_bridge", *drivers} <= seen


@pytest.mark.parametrize("robot", [name for name, each in sorted(embodiments().items()) if each.driver])
def test_an_arms_topics_are_its_drivers_alone_unless_nothing_is_sent(robot: str, tmp_path: Path) -> None:
    driver = find_embodiment(robot).driver
    commands = set(driver.commands())
    assert commands
    assert commands < set(node_of(_robot(tmp_path, robot=robot), driver.executable).alone)
    assert not commands & set(node_of(_robot(tmp_path, robot=robot, dry_run=True), driver.executable).alone)


def test_a_stand_in_of_an_arm_is_the_only_one_that_tells_its_joints(tmp_path: Path) -> None:
    graph = _robot(tmp_path, use_fake_hardware=True)
    assert node_of(graph, "fake_xs_arm").alone == ("wx250s/joint_states",)


@pytest.mark.parametrize(
    ("given", "pushed", "expected"),
    [
        ("", "", ""),
        ("/", "", ""),
        ("left", "", "/left"),
        ("/left/", "", "/left"),
        ("cell/left", "", "/cell/left"),
        ("", "/cell", "/cell"),
        ("left", "/cell", "/cell/left"),
        ("/left", "/cell", "/left"),
        ("left", "/cell/left", "/cell/left"),  # a launch file's own argument of this name, pushed and seen here too
        ("left", "/aleft", "/aleft/left"),
    ],
)
def test_a_relative_namespace_lies_in_the_one_around_it(given: str, pushed: str, expected: str) -> None:
    assert absolute_namespace(given, pushed) == expected


@pytest.mark.parametrize("given", ["1st", "a-b", "a//b", "ä", "a b", "~", "/a/2", "{left}"])
def test_what_is_no_namespace_is_one_line(given: str) -> None:
    with pytest.raises(InputError, match="^namespace: expected one like left or /cell/left, got ") as raised:
        absolute_namespace(given)
    assert "\n" not in str(raised.value)


def test_all_nodes_are_in_the_namespace_with_their_keys_and_their_parameters(tmp_path: Path) -> None:
    graph = _robot(tmp_path, namespace="left", use_fake_hardware=True)
    for node in graph.nodes:
        command = node_command(node, graph)
        assert command[command.index("-r") - 1 :].count("-r") >= 1 and "__ns:=/left" in command
        assert command[command.index("--enclave") + 1] == f"/left/{node.executable}"
    assert set(parameters_of(graph)) == {f"/**/{name}" for node in graph.nodes for name in node.parameters}
    assert not any("__ns" in part for node in graph.nodes for part in node_command(node, _robot(tmp_path)))


def test_in_a_namespace_a_simulations_frames_and_a_recordings_time_are_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = {"/tf": "/left/tf", "/tf_static": "/left/tf_static"}
    for node in _sim(tmp_path, namespace="left").nodes:
        assert node.remappings == tree
    played = _robot(tmp_path, namespace="/left", replay=take_for_a_recording(monkeypatch))
    for node in played.nodes:
        assert node.remappings["/clock"] == "/left/clock" and not tree.keys() & node.remappings.keys()
    assert not any(node.remappings for node in _sim(tmp_path).nodes)
    assert not any("/clock" in node.remappings for node in _robot(tmp_path, namespace="left").nodes)


def test_rviz_shows_the_topics_of_the_namespace(tmp_path: Path) -> None:
    graph = _sim(tmp_path, namespace="cell/left", rviz=True)
    command = node_of(graph, "rviz2").command
    shown = yaml.safe_load(Path(command[command.index("-d") + 1]).read_text())
    usual = yaml.safe_load((config_directory() / "stvla.rviz").read_text())

    def topics(config: dict) -> list[str]:
        found = [display.get("Topic") or display.get("Description Topic") for display in config["Displays"]]
        return [topic["Value"] for topic in found if topic]

    before = topics(usual["Visualization Manager"])
    assert topics(shown["Visualization Manager"]) == [f"/cell/left{topic}" for topic in before] != []
    assert {"/tf:=/cell/left/tf", "/tf_static:=/cell/left/tf_static"} <= set(node_command_of(graph, "rviz2"))


def node_command_of(graph: Graph, executable: str) -> tuple[str, ...]:
    return tuple(f"{old}:={new}" for old, new in node_of(graph, executable).remappings.items())


@pytest.mark.parametrize(
    ("key", "name", "expected"),
    [
        ("/**", "/left/tracker", True),
        ("/**/tracker", "/tracker", True),
        ("/**/tracker", "/cell/left/tracker", True),
        ("/*/tracker", "/left/tracker", True),
        ("/*/tracker", "/tracker", False),
        ("tracker", "/tracker", True),
        ("/tracker", "/left/tracker", False),
        ("/left/tracker", "/left/tracker", True),
        ("/left/track", "/left/tracker", False),
        ("/**/trac.er", "/tracker", False),
    ],
)
def test_a_key_of_a_parameter_file_means_the_nodes_that_ros_says(key: str, name: str, expected: bool) -> None:
    assert matches(key, name) is expected


@pytest.mark.parametrize(
    "content", ["/tracker: {ros__parameters: {buffer: 7}}", "right: {tracker: {ros__parameters: {}}}"]
)
def test_parameters_for_a_node_of_another_namespace_are_not_silently_ignored(content: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(content)
    with pytest.raises(
        InputError, match=r"^params_file: /(right/)?tracker is no node .* /left/tracker or /\*\*/tracker$"
    ):
        _robot(tmp_path, namespace="left", params_file=str(file))
    file.write_text("/**/tracker: {ros__parameters: {buffer: 7}}\n/left/depth: {ros__parameters: {}}\n/rig: {}")
    assert _robot(tmp_path, namespace="left", params_file=str(file)).parameter_files[-1] == file


@pytest.mark.parametrize(
    ("start", "expected"),
    [
        ("perception", ["tracker", "depth", "compositor"]),
        ("server", ["vla_server"]),
        ("driver", ["widowx_driver", "robot_session", "fake_xs_arm"]),
        ("sim", ["replay", "episode_recorder"]),
    ],
)
def test_the_parts_of_a_graph_are_started_one_by_one_and_make_the_whole(
    start: str, expected: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = {"replay": take_for_a_recording(monkeypatch), "use_fake_hardware": True}
    whole = {node.executable: node for node in _robot(tmp_path, **arguments).nodes}
    part = _robot(tmp_path, start=start, **arguments)
    assert names_of(part) == expected
    assert all(whole[node.executable] == node for node in part.nodes)
    # They have no folder in common, by which they would know each other.
    assert not any("run" in values["ros__parameters"] for values in parameters_of(part).values())
    named = _robot(tmp_path, start=start, run="cell/3", **arguments)
    assert {values["ros__parameters"]["run"] for values in parameters_of(named).values()} == {"cell/3"}


@pytest.mark.parametrize("name", ["of mine", "a\nb", "x" * 201])
def test_what_is_no_name_of_a_run_is_one_line(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^run: expected a name of letters, digits and _ . : / \+ - .*, got '[^\n]*$"):
        _sim(tmp_path, run=name)


@pytest.mark.parametrize("start", ["perception", "server", "sim", "driver"])
def test_one_part_of_a_graph_records_and_the_others_say_which(start: str, tmp_path: Path) -> None:
    for make, with_arm, recording in ((_sim, False, "sim"), (_robot, True, "driver")):
        if start == ("sim" if with_arm else "driver"):
            continue
        graph = make(tmp_path, start=start, record=True, **({"use_fake_hardware": True} if with_arm else {}))
        assert ("bag_recorder" in names_of(graph)) == (start == recording)
        told = f"the bag is recorded where the part {recording} is started"
        assert (told in graph.notes) == (start != recording)


def test_a_part_that_the_graph_does_not_have_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="^start: expected all or one of perception, server, driver, this .* no sim$"):
        _robot(tmp_path, start="sim")
    with pytest.raises(InputError, match="^start: expected another than server with fused"):
        _sim(tmp_path, start="server", fused=True)
    assert names_of(_sim(tmp_path, start="sim", fused=True)) == ["sim_bridge", "episode_recorder"]
    assert not (tmp_path / "run" / "latches").exists()


def test_who_starts_again_after_a_failure_is_said_by_respawn(tmp_path: Path) -> None:
    def restarted(graph: Graph) -> set[str]:
        return {node.executable for node in graph.nodes if node.on_failure == "restart"}

    robot = {"tracker", "depth", "compositor", "vla_server", "widowx_driver", "robot_session"}
    assert restarted(_robot(tmp_path)) == restarted(_robot(tmp_path, respawn="true")) == robot
    assert restarted(_robot(tmp_path, respawn="false")) == restarted(_sim(tmp_path)) == set()
    # A simulator or a recorder that came back would begin its episodes anew.
    assert restarted(_sim(tmp_path, respawn="true")) == {"tracker", "depth", "compositor", "vla_server"}


def test_time_lifecycle_and_log_level_are_those_of_all_nodes(tmp_path: Path) -> None:
    graph = _robot(tmp_path, use_sim_time="true", autostart=False, log_level="warn", use_fake_hardware=True)
    for values in parameters_of(graph).values():
        assert (values["ros__parameters"]["use_sim_time"], values["ros__parameters"]["autostart"]) == (True, False)
    for node in graph.nodes:
        command = node_command(node, graph)
        assert command[command.index("--log-level") + 1] == "warn"
    usual = _robot(tmp_path)
    assert not any("--log-level" in node_command(node, usual) for node in usual.nodes)
    with pytest.raises(InputError, match="^use_sim_time: expected auto or false"):
        _sim(tmp_path, use_sim_time="true")


def test_a_node_of_another_package_is_told_the_time_and_nothing_of_ours(tmp_path: Path) -> None:
    assert parameters_of(_robot(tmp_path, rviz=True))["/**/rviz"] == {"ros__parameters": {"use_sim_time": False}}


def test_all_nodes_of_a_run_have_its_folder_as_its_name(tmp_path: Path) -> None:
    for graph in (_sim(tmp_path), _robot(tmp_path)):
        names = {values["ros__parameters"]["run"] for values in parameters_of(graph).values()}
        assert names == {str(tmp_path / "run")}


def test_graphs_of_one_moment_have_folders_and_names_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stopped(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> "Stopped":
            return cls(2026, 1, 2, 3, 4, 5, 999_999, tz)

    monkeypatch.setattr("stvla_ros.graph.run.datetime", Stopped)
    arguments = RobotArguments(policy="random", output=str(tmp_path), use_fake_hardware=True)
    graphs = [describe_graph(arguments) for _ in range(3)]
    folders = [graph.run_directory.name for graph in graphs]
    assert folders == ["2026-01-02_03-04-05_999999", "2026-01-02_03-04-06_000000", "2026-01-02_03-04-06_000001"]
    names = {values["ros__parameters"]["run"] for graph in graphs for values in parameters_of(graph).values()}
    assert names == {str(tmp_path / folder) for folder in folders}
    assert (tmp_path / "latest").resolve() == tmp_path / folders[-1]


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, True),
        ({"ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}, True),
        ({"ROS_DOMAIN_ID": "0"}, False),
        ({"ROS_DOMAIN_ID": ""}, True),
        ({"ROS_AUTOMATIC_DISCOVERY_RANGE": "SUBNET"}, False),
        ({"ROS_LOCALHOST_ONLY": "1"}, True),
        ({"ROS_LOCALHOST_ONLY": "0"}, False),
        ({"ROS_STATIC_PEERS": "192.168.1.2"}, False),
        ({"ROS_DISCOVERY_SERVER": "127.0.0.1:11811"}, False),
    ],
)
def test_a_domain_is_chosen_only_where_nobody_else_has_chosen(environment: dict[str, str], expected: bool) -> None:
    assert takes_own_domain(environment) is expected


def test_only_a_simulation_that_is_started_as_a_whole_has_a_domain_of_its_own(tmp_path: Path) -> None:
    assert _sim(tmp_path).own_domain
    assert not _sim(tmp_path, start="sim").own_domain
    assert not _robot(tmp_path, use_fake_hardware=True).own_domain


@pytest.fixture
def private_domains(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Those that only this test may take: their ports are above those that Linux gives to others."""
    found = [220, 219]
    monkeypatch.setattr(domains, "_DOMAINS", found)
    return found


def test_domains_of_their_own_differ_and_are_free_again_after_the_end(private_domains: list[int]) -> None:
    for _ in range(2):
        with own_domain() as first, own_domain() as second:
            assert [first, second] == private_domains
            with pytest.raises(InputError, match="^ROS_DOMAIN_ID: "), own_domain():
                pass


def test_a_domain_in_which_a_process_is_is_not_taken(private_domains: list[int]) -> None:
    # The second process of that domain; the first one ended.
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as port:
        port.bind(("", 7400 + 250 * private_domains[0] + 10 + 2))
        with own_domain() as other:
            assert other == private_domains[1]


def test_a_full_name_goes_by_remapping_and_namespace() -> None:
    assert full_name("image", "/left", {"image": "camera/color"}) == "/left/camera/color"
    assert full_name("image", "/left", {"image": "/rig/color"}) == "/rig/color"
    assert full_name("tracker", "") == "/tracker"


def test_the_tests_own_domain_is_none_that_a_simulation_takes() -> None:
    assert not takes_own_domain(os.environ)
