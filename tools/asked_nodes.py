"""The topics, services and parameters of each node. The node is made, configured and activated in this process, alone
and without discovery, and then asked.

Only what a node cannot report is listed by hand. ``tools/security_policy.py`` and ``tools/reference.py`` write the
results down.
"""

import gc
import importlib
import inspect
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast
from unittest.mock import patch

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
from stvla_ros.nodes.kit.base import StvlaNode
from stvla_ros.nodes.kit.picture_topics import picture_candidates
from stvla_ros.robots.embodiments import ROBOT_DESCRIPTION
from tools.robot_files import write_robot

# Types by kind of entity, its use, and its name; names are relative to the namespace if the node's own are.
Entities = dict[tuple[str, str], dict[str, set[str]]]


@dataclass(frozen=True)
class DeclaredParameter:
    """A parameter, as declared by ``StvlaNode.parameter``.

    :param default: default value, of any type that a ROS parameter can have.
    :param low, high: range of a number; None for none.
    :param choices: possible values of a text; empty for any text.
    """

    default: Any
    description: str
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()


@dataclass(frozen=True)
class AskedNode:
    """
    :param executable: executable that runs the node.
    :param parameters: parameters by name, in the order of their declaration.
    """

    executable: str
    name: str
    entities: Entities
    parameters: Mapping[str, DeclaredParameter]


# The namespace in which the nodes are asked, so that relative names can be told from those that are the same in every
# namespace.
_ASKED_IN = "/namespace"
# The nodes are alone: nodes with the same names, from earlier in this process or elsewhere, would be asked in their
# place.
_ALONE = {
    "ROS_AUTOMATIC_DISCOVERY_RANGE": "OFF",
    "ROS_LOCALHOST_ONLY": "",
    "ROS_DISCOVERY_SERVER": "",
    "ROS_SECURITY_ENABLE": "false",
}
# Names that a node uses only with things that are missing here: topics found while it runs, a policy that a package
# adds, an arm whose URDF comes by a topic.
_BESIDE: Mapping[str, Mapping[str, str]] = {
    "bag_recorder": {"/*": "any"},
    "vla_server": {"joint_states": "sensor_msgs/msg/JointState"},
    "widowx_driver": {f"wx250s/{ROBOT_DESCRIPTION}": "std_msgs/msg/String"},
    "moveit_servo_driver": {ROBOT_DESCRIPTION: "std_msgs/msg/String"},
    "joint_position_driver": {ROBOT_DESCRIPTION: "std_msgs/msg/String"},
}
# Default names of MoveIt Servo and of controllers; the robots of this package behind controllers have no URDF here.
_SERVO = {
    "twist_topic": "servo_node/delta_twist_cmds",
    "gripper": {"interface": "gripper_command", "name": "gripper_controller/gripper_cmd"},
}
_CONTROLLED = {
    interface: {
        "controller": name,
        "interface": interface,
        "gripper": {"interface": gripper, "name": "gripper_controller/gripper_cmd", "finger_joint": "left_finger"},
    }
    for interface, name, gripper in (
        ("positions", "forward_position_controller", "gripper_command"),
        ("trajectory", "joint_trajectory_controller", "parallel_gripper_command"),
    )
}


def usual_nodes(folder: Path) -> list[NodeSpec]:
    """Every executable, in all settings in which it has different topics and services.

    :param folder: folder for the nodes' files.
    """
    servo = str(write_robot(folder / "servo.yaml", executable="moveit_servo_driver", settings=_SERVO))
    controlled = [
        str(write_robot(folder / f"{name}.yaml", executable="joint_position_driver", settings=settings))
        for name, settings in _CONTROLLED.items()
    ]
    recording = folder / "recording"
    recording.mkdir(exist_ok=True)
    cv2.imwrite(str(recording / "0.png"), np.zeros((48, 64, 3), np.uint8))
    sim = SimArguments(policy="expert", record=True, tracker="kinematic")
    robot = RobotArguments(policy="random", instruction="wait", latch_folder=str(folder / "latches"))
    played = replace(robot, use_fake_hardware=True, replay=str(recording), replay_parameters="{frame_rate: 30.0}")
    driven = _nodes(sim_graph(replace(sim, fused=True, joint_level=True, pacing="realtime"), folder / "run"))
    nodes = [
        *_nodes(sim_graph(sim, folder / "run")),
        # If the files of this robot are missing, the task may be another robot's; its driver is among those below.
        *(node for node in driven if "driver" not in node.executable),
        *_nodes(robot_graph(played, folder / "run")),
    ]
    for each in (
        replace(robot, robot="widowx", traces="none"),
        replace(robot, robot="google_robot", traces="rgb"),
        replace(robot, robot="widowx", traces="beside", tracker="kinematic"),
        replace(robot, robot="widowx", traces="depth", depth="sensor", drawing="{ignore_robot: true}"),
        replace(robot, robot=servo, fused=True),
        *(replace(robot, robot=file) for file in controlled),
    ):
        nodes += _nodes(robot_graph(replace(each, deadman="joy"), folder / "run"))
        nodes += _nodes(robot_graph(replace(each, deadman="service"), folder / "run"))
    for file in (*controlled, servo):
        nodes += _nodes(robot_graph(replace(played, robot=file), folder / "run"))
    # Any of them may run in a recording's time.
    return [
        replace(node, parameters={n: {**p, "use_sim_time": True} for n, p in node.parameters.items()}) for node in nodes
    ]


def started_nodes(command: list[str], folder: Path) -> list[NodeSpec]:
    """The nodes that `stvla sim|robot OPTIONS…` starts. Other packages' programs are left out.

    :param command: ``sim`` or ``robot``, and the options.
    """
    if command[0] == "sim":
        return _nodes(sim_graph(tyro.cli(SimArguments, args=command[1:]), folder / "run"))
    arguments = tyro.cli(RobotArguments, args=command[1:])
    return _nodes(robot_graph(replace(arguments, latch_folder=str(folder / "latches")), folder / "run"))


def _nodes(graph: Graph) -> list[NodeSpec]:
    """Our processes, with all parameters from the graph's files, which the next graph may overwrite."""
    contents = [yaml.safe_load(file.read_text()) or {} for file in graph.parameter_files]

    def given(name: str) -> Parameters:
        keys = ("/**", f"/**/{name}", f"/{name}", name)
        found = [file[key]["ros__parameters"] for file in contents for key in keys if key in file]
        return {key: value for values in found for key, value in values.items()}

    ours = [node for node in graph.nodes if not node.command]
    return [replace(node, parameters={name: given(name) for name in node.parameters}) for node in ours]


def ask(nodes: Iterable[NodeSpec], folder: Path) -> list[AskedNode]:
    """Ask the nodes what they use; equal ones are asked once.

    :param folder: folder for the nodes' files.
    :raises RuntimeError: for a node that cannot be configured or activated here, with the reason.
    """
    specs: list[NodeSpec] = []
    asked: list[AskedNode] = []
    for spec in nodes:
        same = replace(spec, on_failure="stop", ends_graph=False)
        if same in specs:
            continue
        specs.append(same)
        with patch.dict(os.environ, _ALONE), _noting_parameters() as declared:
            asked += _ask(spec, folder, declared)
    return asked


def _ask(spec: NodeSpec, folder: Path, declared: Mapping[int, Mapping[str, DeclaredParameter]]) -> Iterator[AskedNode]:
    """Each node of a process."""
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
            node = nodes[-1]
            yield AskedNode(spec.executable, node.get_name(), _entities(node), dict(declared[id(node)]))
    finally:
        while nodes:
            node = nodes.pop()
            node.end()
            node.destroy_node()
            del node
        rclpy.try_shutdown()
        gc.collect()  # participants that stay alive in one process can deadlock Fast DDS


def _makers(spec: NodeSpec) -> list[Callable[[list[StvlaNode]], StvlaNode]]:
    """Functions that make the nodes of a process from the nodes made before."""
    module = importlib.import_module(spec.module or module_of(spec.executable))
    if spec.executable == "fused":
        return [
            lambda made: module.VlaServerNode(subscribe_to_perception=False),
            lambda made: module.PerceptionNode(made[0]),
        ]
    classes = [each for _, each in inspect.getmembers(module, inspect.isclass) if each.__module__ == module.__name__]
    [own] = [each for each in classes if issubclass(each, StvlaNode)]
    return [lambda made: cast(Callable[[], StvlaNode], own)()]


@contextmanager
def _noting_parameters() -> Iterator[dict[int, dict[str, DeclaredParameter]]]:
    """Record the parameters that nodes declare meanwhile, by the node's ``id``: a descriptor lacks the default."""
    declared: dict[int, dict[str, DeclaredParameter]] = {}
    declare = StvlaNode.parameter

    def note(node: StvlaNode, name: str, default: Any, description: str, **rules: Any) -> Any:
        choices = tuple(rules.get("choices", ()))
        noted = DeclaredParameter(default, description, rules.get("low"), rules.get("high"), choices)
        declared.setdefault(id(node), {})[name] = noted
        return declare(node, name, default, description, **rules)

    with patch.object(StvlaNode, "parameter", note):
        yield declared


def _entities(node: StvlaNode) -> Entities:
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
    # Who only hears of the goals of others is no client.
    others_goals = {
        each
        for each, _ in found["topics", "subscribe"]
        if each.endswith("/_action/status")
        and each.removesuffix("/_action/status") not in dict(found["actions", "call"])
    }
    entities: Entities = {
        # An action's topics and services follow from its name.
        rule: {
            _expression(each, own): set(types)
            for each, types in all_of_it
            if "/_action/" not in each or each in others_goals
        }
        for rule, all_of_it in found.items()
    }
    for topic, type_ in (*_transported(node, found), *_BESIDE.get(name, {}).items()):
        entities["topics", "subscribe"].setdefault(topic, {type_})
    return entities


def _transported(node: StvlaNode, found: Mapping[tuple[str, str], Any]) -> Iterator[tuple[str, str]]:
    """Topics that a node subscribes to in the place of a camera's if pictures come compressed."""
    if not node.has_parameter("image_transport"):
        return
    transport, subscribed = node.get_parameter("image_transport").value, dict(found["topics", "subscribe"])
    for name in ("image", "sensor_depth"):
        if (topic := node.resolve_topic_name(name)) in subscribed:
            yield from (
                (each.removeprefix(f"{_ASKED_IN}/"), kind)
                for each, kind in picture_candidates(topic, transport)
                if each != topic
            )


def _expression(name: str, own: str) -> str:
    """A name as a policy has it: ``~/reset`` for a node's own, ``image`` within its namespace, ``/clock`` elsewhere."""
    if name.startswith(own):
        return "~/" + name.removeprefix(own)
    return name.removeprefix(f"{_ASKED_IN}/")
