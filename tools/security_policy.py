"""config/security/policy.xml: what each node may publish, subscribe to, serve and call, in the form that SROS2 reads.

    python -m tools.security_policy                               that file anew, for all nodes as they usually run
    python -m tools.security_policy -o FILE robot OPTIONS…        for what `stvla robot OPTIONS…` starts (or sim)
    python -m tools.security_policy -o FILE -n /left robot …      the same in a namespace

Nothing is listed by hand that a node can say itself: each node is made, configured and activated in this process, alone
and unheard (no discovery), and asked what it has. Form of the file: ROS 2 design article "Access Control Policies".
"""

import argparse
import gc
import importlib
import inspect
import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import cast
from unittest.mock import patch
from xml.etree import ElementTree

import cv2
import numpy as np
import rclpy
import tyro
import yaml
from rclpy.action import get_action_client_names_and_types_by_node, get_action_server_names_and_types_by_node
from rclpy.lifecycle import TransitionCallbackReturn

from stvla_ros.graph.arguments import RobotArguments, SimArguments
from stvla_ros.graph.assemble import robot_graph, sim_graph
from stvla_ros.graph.specification import Graph, NodeSpec, Parameters
from stvla_ros.nodes.executables import module_of
from stvla_ros.nodes.kit.base import StvlaNode, set_dds_defaults
from stvla_ros.robots.embodiments import ROBOT_DESCRIPTION, find_embodiment
from stvla_ros.shared_files import config_directory
from stvla_ros.sim.tasks import resolve_task

POLICY_FILE = "security/policy.xml"
VERSION = "0.2.0"
# By kind of entity and what is done with it: names relative to the namespace where the node's own are.
Permissions = dict[tuple[str, str], set[str]]
# By enclave, which is a process, and node in it.
Enclaves = dict[str, dict[str, Permissions]]

# Where the nodes are asked, so that relative names can be told from those that are the same in every namespace.
_ASKED_IN = "/namespace"
# The nodes are alone: others of these names, in this process a moment ago or elsewhere, would be asked in their place.
_ALONE = {
    "ROS_AUTOMATIC_DISCOVERY_RANGE": "OFF",
    "ROS_LOCALHOST_ONLY": "",
    "ROS_DISCOVERY_SERVER": "",
    "ROS_SECURITY_ENABLE": "false",
}
# What a node has only with what is not here: topics found while it runs, a policy that a package adds, an arm whose
# URDF comes by a topic.
_BESIDE: Mapping[str, Permissions] = {
    "bag_recorder": {("topics", "subscribe"): {"/*"}},
    "vla_server": {("topics", "subscribe"): {"joint_states"}},
    "widowx_driver": {("topics", "subscribe"): {ROBOT_DESCRIPTION}},
    "moveit_servo_driver": {("topics", "subscribe"): {ROBOT_DESCRIPTION}},
}
# A person with `ros2` commands and `stvla doctor`: sees all, stops the arm, and calls what our nodes serve. Those
# commands are nodes themselves, and serve their own parameters (ros2cli's are called _ros2cli_…).
OPERATOR = "operator"
_OPERATORS_OWN = {"/_ros2cli*", "/stvla_doctor/*"}
# MoveIt Servo's default names; no robot that comes along is driven by it.
_SERVO = {
    "twist_topic": "servo_node/delta_twist_cmds",
    "joint_states_topic": "joint_states",
    "gripper_topic": "gripper_opening",
    "finger_joint": "left_finger",
    "finger_closed": 0.015,
    "finger_open": 0.037,
}
_HEADER = """ Made by `python -m tools.security_policy`; test/tools/test_security_policy.py compares it with the nodes.
     How to use it: docs/how-to/security.md. """


def usual_nodes(folder: Path) -> list[NodeSpec]:
    """Every executable, in the ways in which it has other topics and services.

    :param folder: for what the nodes write.
    """
    servo = yaml.safe_load((config_directory() / "robots" / "widowx.yaml").read_text())
    servo["driver"] |= {"executable": "moveit_servo_driver", "settings": _SERVO}
    servo["driver"]["arm"]["urdf"] = find_embodiment("widowx").driver.arm.urdf
    (folder / "servo.yaml").write_text(yaml.safe_dump(servo))
    recording = folder / "recording"
    recording.mkdir(exist_ok=True)
    cv2.imwrite(str(recording / "0.png"), np.zeros((48, 64, 3), np.uint8))
    sim = SimArguments(policy="expert", record=True, tracker="kinematic")
    robot = RobotArguments(policy="random", instruction="wait", latch_folder=str(folder / "latches"))
    played = replace(robot, use_fake_hardware=True, replay=str(recording), replay_parameters="{frame_rate: 30.0}")
    driven = _nodes(sim_graph(replace(sim, fused=True, joint_level=True, pacing="realtime"), folder / "run"))
    nodes = [
        *_nodes(sim_graph(sim, folder / "run")),
        # The task may be another robot's where the files of this one are missing; its driver is among those below.
        *(node for node in driven if "driver" not in node.executable),
        *_nodes(robot_graph(played, folder / "run")),
    ]
    for each in (
        replace(robot, robot="widowx", traces="none"),
        replace(robot, robot="google_robot", traces="rgb"),
        replace(robot, robot="widowx", traces="beside", tracker="kinematic"),
        replace(robot, robot="widowx", traces="depth", depth="sensor", drawing="{ignore_robot: true}"),
        replace(robot, robot=str(folder / "servo.yaml"), fused=True),
    ):
        nodes += _nodes(robot_graph(replace(each, deadman="joy"), folder / "run"))
        nodes += _nodes(robot_graph(replace(each, deadman="service"), folder / "run"))
    # Any of them may work in a recording's time.
    return [
        replace(node, parameters={n: {**p, "use_sim_time": True} for n, p in node.parameters.items()}) for node in nodes
    ]


def started_nodes(command: list[str], folder: Path) -> list[NodeSpec]:
    """What `stvla sim|robot OPTIONS…` starts. Other packages' programs are left out.

    :param command: ``sim`` or ``robot``, and the options.
    """
    if command[0] == "sim":
        return _nodes(sim_graph(tyro.cli(SimArguments, args=command[1:]), folder / "run"))
    arguments = tyro.cli(RobotArguments, args=command[1:])
    return _nodes(robot_graph(replace(arguments, latch_folder=str(folder / "latches")), folder / "run"))


def _nodes(graph: Graph) -> list[NodeSpec]:
    """Our processes, with all parameters that they get by the graph's files, which the next graph may write anew."""
    contents = [yaml.safe_load(file.read_text()) or {} for file in graph.parameter_files]

    def given(name: str) -> Parameters:
        found = [file[key]["ros__parameters"] for file in contents for key in ("/**", f"/{name}", name) if key in file]
        return {key: value for values in found for key, value in values.items()}

    ours = [node for node in graph.nodes if not node.command]
    return [replace(node, parameters={name: given(name) for name in node.parameters}) for node in ours]


def ask(nodes: Iterable[NodeSpec], folder: Path) -> Enclaves:
    """What the nodes have.

    :raises RuntimeError: for one that cannot be configured or activated here, with the reason.
    """
    enclaves: Enclaves = defaultdict(lambda: defaultdict(lambda: defaultdict(set)))
    asked: list[NodeSpec] = []
    for spec in nodes:
        same = replace(spec, on_failure="stop", ends_graph=False)
        if same in asked:
            continue
        asked.append(same)
        with patch.dict(os.environ, _ALONE):
            for node, permissions in _permissions_of(spec, folder):
                for rule, names in (*permissions.items(), *_BESIDE.get(node, {}).items()):
                    enclaves[spec.executable][node][rule] |= names
    return enclaves


def with_operator(enclaves: Enclaves) -> Enclaves:
    """Beside the nodes, the person who resets and stops them, and gives them goals."""
    nodes = {node: rules for profiles in enclaves.values() for node, rules in profiles.items()}
    actions = {name for rules in nodes.values() for name in rules.get(("actions", "execute"), ())}
    stops = {"estop"} if any("estop" in rules.get(("topics", "subscribe"), ()) for rules in nodes.values()) else set()
    operator: Permissions = {
        ("topics", "subscribe"): {"/*"},
        ("topics", "publish"): {"/rosout", "/parameter_events", *stops},
        ("services", "request"): {f"{node}/*" for node in nodes},
        ("services", "reply"): _OPERATORS_OWN,
        ("actions", "call"): actions,
    }
    return {**enclaves, OPERATOR: {OPERATOR: operator}}


def as_xml(enclaves: Enclaves, namespace: str = "/") -> str:
    """The policy file. A process' enclave is called after its executable, in the namespace."""
    policy = ElementTree.Element("policy", version=VERSION)
    policy.append(ElementTree.Comment(_HEADER))
    parent = ElementTree.SubElement(policy, "enclaves")
    for executable, profiles in sorted(enclaves.items()):
        enclave = ElementTree.SubElement(parent, "enclave", path=f"{namespace.rstrip('/')}/{executable}")
        inside = ElementTree.SubElement(enclave, "profiles")
        for node, permissions in sorted(profiles.items()):
            profile = ElementTree.SubElement(inside, "profile", ns=namespace, node=node)
            for (kind, rule), names in sorted(permissions.items()):
                if names:
                    listed = ElementTree.SubElement(profile, kind, {rule: "ALLOW"})
                    # Of those that are all allowed, those that happened to be there say nothing.
                    for name in ["/*"] if "/*" in names else sorted(names):
                        ElementTree.SubElement(listed, kind.removesuffix("s")).text = name
    ElementTree.indent(policy)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(policy, encoding="unicode") + "\n"


def _permissions_of(spec: NodeSpec, folder: Path) -> Iterator[tuple[str, Permissions]]:
    """Of each node of a process, by its name."""
    parameters = {name: dict(values) for name, values in spec.parameters.items()}
    if "sim_bridge" in parameters:  # it would begin its episodes
        parameters["sim_bridge"]["awaited_subscribers"] = ["nobody image"]
    file = folder / "parameters.yaml"
    file.write_text(yaml.safe_dump({f"{_ASKED_IN}/{n}": {"ros__parameters": v} for n, v in parameters.items()}))
    remappings = [f"{inner}:={outer}" for inner, outer in spec.remappings.items()]
    rules = [word for each in (f"__ns:={_ASKED_IN}", *remappings) for word in ("-r", each)]
    rclpy.init(args=["--ros-args", "--log-level", "error", "--params-file", str(file), *rules])
    nodes: list[StvlaNode] = []
    try:
        for make in _makers(spec):
            nodes.append(make(nodes))
            for step in (nodes[-1].trigger_configure, nodes[-1].trigger_activate):
                if step() != TransitionCallbackReturn.SUCCESS:
                    raise RuntimeError(f"node {nodes[-1].get_name()}: {nodes[-1].configure_error}")
            yield nodes[-1].get_name(), _permissions(nodes[-1])
    finally:
        while nodes:
            node = nodes.pop()
            node.end()
            node.destroy_node()
            del node
        rclpy.try_shutdown()
        gc.collect()  # participants of one process that live on can deadlock Fast DDS


def _makers(spec: NodeSpec) -> list[Callable[[list[StvlaNode]], StvlaNode]]:
    """What makes the nodes of a process, given those that were made before."""
    module = importlib.import_module(spec.module or module_of(spec.executable))
    if spec.executable == "fused":
        return [
            lambda made: module.VlaServerNode(subscribe_to_perception=False),
            lambda made: module.PerceptionNode(made[0]),
        ]
    classes = [each for _, each in inspect.getmembers(module, inspect.isclass) if each.__module__ == module.__name__]
    [own] = [each for each in classes if issubclass(each, StvlaNode)]
    return [lambda made: cast(Callable[[], StvlaNode], own)()]


def _permissions(node: StvlaNode) -> Permissions:
    name, namespace = node.get_name(), node.get_namespace()
    found = {
        ("topics", "publish"): node.get_publisher_names_and_types_by_node(name, namespace),
        ("topics", "subscribe"): node.get_subscriber_names_and_types_by_node(name, namespace),
        ("services", "reply"): node.get_service_names_and_types_by_node(name, namespace),
        ("services", "request"): node.get_client_names_and_types_by_node(name, namespace),
        ("actions", "execute"): get_action_server_names_and_types_by_node(node, name, namespace),
        ("actions", "call"): get_action_client_names_and_types_by_node(node, name, namespace),
    }
    own = f"{namespace}/{name}/"
    # An action's topics and services follow from its name.
    return {
        rule: {_expression(each, own) for each, _ in entities if "/_action/" not in each}
        for rule, entities in found.items()
    }


def _expression(name: str, own: str) -> str:
    """As a policy has it: ``~/reset`` for a node's own, ``image`` within its namespace, ``/clock`` elsewhere."""
    if name.startswith(own):
        return "~/" + name.removeprefix(own)
    return name.removeprefix(f"{_ASKED_IN}/")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.security_policy", description="SROS2 policy of our nodes.")
    default = config_directory() / POLICY_FILE
    parser.add_argument("-o", "--output", type=Path, default=default, help="file to write (%(default)s)")
    parser.add_argument("-n", "--namespace", default="/", help="of all nodes, like /left (%(default)s)")
    parser.add_argument("command", nargs=argparse.REMAINDER, help="sim or robot, with the options that it is given")
    given = parser.parse_args()
    if not given.namespace.startswith("/") or given.command[:1] not in ([], ["sim"], ["robot"]):
        parser.error("expected a namespace like /left, and sim, robot or nothing")
    if not given.command and (missing := resolve_task(SimArguments.task)[1]):
        parser.error(missing)
    set_dds_defaults()
    with TemporaryDirectory() as folder:
        nodes = started_nodes(given.command, Path(folder)) if given.command else usual_nodes(Path(folder))
        text = as_xml(with_operator(ask(nodes, Path(folder))), given.namespace)
    given.output.parent.mkdir(parents=True, exist_ok=True)
    given.output.write_text(text)
    print(f"{given.output}: {text.count('<enclave ')} enclaves")


if __name__ == "__main__":
    main()
