"""From the nodes of a graph to what is started: the part that was asked for, what all of them share, and the files that
they read.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from stvla_ros.atomic_files import make_folder
from stvla_ros.errors import InputError
from stvla_ros.graph.arguments import PerceptionArguments
from stvla_ros.graph.names import absolute_namespace, alone, full_name, matches
from stvla_ros.graph.specification import Graph, NodeSpec
from stvla_ros.policy.registry import require_network
from stvla_ros.settings import read_mapping, read_yaml
from stvla_ros.shared_files import config_directory

RVIZ_CONFIG = "stvla.rviz"
# In a namespace these names are its own, as in every stack with several robots: they are absolute, so that otherwise
# one robot's would be the other's. A simulation has a tree of frames of its own, a recording its own time.
_TREE, _CLOCK = ("/tf", "/tf_static"), ("/clock",)
_RESPAWNED = ("perception", "server", "driver")
_SHARED = "ros__parameters"
# It stands in parameter files, messages and lines of the log.
_RUN = re.compile(r"[\w.:/+-]{1,200}", re.ASCII)


def finish(
    nodes: Sequence[NodeSpec],
    arguments: PerceptionArguments,
    run_directory: Path,
    *,
    simulated: bool = False,
    replayed: bool = False,
    notes: tuple[str, ...] = (),
) -> Graph:
    """Write the graph's parameters into the run's folder, where they also say later what was run.

    :param simulated: whether a simulator is the robot and its camera.
    :param replayed: whether a recording is the camera, and the clock.
    :raises InputError: naming the bad argument; then nothing was written.
    """
    namespace = absolute_namespace(arguments.namespace)
    recorded = [node.part for node in nodes if node.executable == "bag_recorder"]
    nodes = [_respawned(node, arguments.respawn) for node in _part(nodes, arguments)]
    if recorded and not any(node.executable == "bag_recorder" for node in nodes):
        notes = (*notes, f"the bag is recorded where the part {recorded[0]} is started")
    _check_packages(nodes)
    own = {name: full_name(name.lstrip("/"), namespace) for name in _TREE * simulated + _CLOCK * replayed if namespace}
    nodes = [
        replace(
            node,
            remappings={**node.remappings, **own},
            alone=(*node.alone, *(topic for name in node.parameters for topic in alone(name))),
        )
        for node in nodes
    ]
    parameters = _parameters(nodes, _common(arguments, run_directory, simulated, replayed))
    extra = _users_file(arguments, nodes, namespace)
    make_folder(run_directory)
    file = run_directory / "parameters.yaml"
    # In whatever namespace: a launch file may push another one around it.
    file.write_text(yaml.safe_dump({f"/**/{name}": {_SHARED: values} for name, values in parameters.items()}))
    if namespace and any(node.executable == "rviz2" for node in nodes):
        (run_directory / RVIZ_CONFIG).write_text(_rviz_config(namespace))
    return Graph(
        tuple(nodes),
        run_directory,
        (file, extra) if extra else (file,),
        notes,
        namespace,
        arguments.log_level,
        # Parts that are started one by one must meet.
        own_domain=simulated and arguments.start == "all",
    )


def _check_packages(nodes: Sequence[NodeSpec]) -> None:
    """Of what is started here alone: where only camera and arm are, nobody needs networks.

    :raises InputError: for a Python package that is missing.
    """
    for node in nodes:
        if server := node.parameters.get("vla_server"):
            require_network(server["policy"])


def rviz_config(arguments: PerceptionArguments, run_directory: Path) -> Path:
    """Where rviz2 finds its configuration."""
    return (run_directory if absolute_namespace(arguments.namespace) else config_directory()) / RVIZ_CONFIG


def _part(nodes: Sequence[NodeSpec], arguments: PerceptionArguments) -> list[NodeSpec]:
    start = arguments.start
    if start == "all":
        return list(nodes)
    if arguments.fused and start in ("perception", "server"):
        raise InputError(f"start: expected another than {start} with fused, where both are one process")
    parts = list(dict.fromkeys(node.part for node in nodes if node.part))
    if start not in parts:
        raise InputError(f"start: expected all or one of {', '.join(parts)}, this graph has no {start}")
    return [node for node in nodes if node.part in (start, "")]


def _respawned(node: NodeSpec, respawn: str) -> NodeSpec:
    if respawn == "true" and node.part in _RESPAWNED:
        return replace(node, on_failure="restart")
    if respawn == "false" and node.on_failure == "restart":
        return replace(node, on_failure="stop")
    return node


def _common(
    arguments: PerceptionArguments, run_directory: Path, simulated: bool, replayed: bool
) -> Mapping[str, bool | str]:
    """What all nodes are told."""
    if simulated and arguments.use_sim_time == "true":
        raise InputError("use_sim_time: expected auto or false, a simulation goes by the machine's clock")
    common: dict[str, bool | str] = {}
    if not simulated:
        common["use_sim_time"] = replayed if arguments.use_sim_time == "auto" else arguments.use_sim_time == "true"
    if arguments.run:
        common["run"] = _checked_run(arguments.run)
    elif arguments.start == "all":
        # Parts that are started one by one have no folder in common.
        common["run"] = str(run_directory)
    return common if arguments.autostart else {**common, "autostart": False}


def _checked_run(name: str) -> str:
    """:raises InputError: for what is no name."""
    if not _RUN.fullmatch(name):
        raise InputError(f"run: expected a name of letters, digits and _ . : / + - (at most 200), got {name[:200]!r}")
    return name


def _parameters(nodes: Sequence[NodeSpec], common: Mapping[str, bool | str]) -> Mapping[str, Mapping[str, Any]]:
    """By node, those that have any: an empty mapping is not a valid parameter file."""
    found: dict[str, Mapping[str, Any]] = {}
    for node in nodes:
        # Another package's program knows of ours no more than the time.
        told = {name: value for name, value in common.items() if not node.command or name == "use_sim_time"}
        found |= {name: {**told, **values} for name, values in node.parameters.items()}
    return {name: values for name, values in found.items() if values}


def _users_file(arguments: PerceptionArguments, nodes: Sequence[NodeSpec], namespace: str) -> Path | None:
    """:raises InputError: for a file that is none, or that means a node of the graph by a name that is not its own."""
    if not arguments.params_file:
        return None
    file = Path(arguments.params_file).resolve()
    if not file.is_file():
        raise InputError(f"params_file: expected a ROS 2 parameter file, there is no {file}")
    read_mapping(file, "params_file")
    names = {name: full_name(name, namespace) for node in nodes for name in node.parameters}
    for key in _keys(read_yaml(file, "params_file")):
        meant = names.get(key.rpartition("/")[2])
        if meant is not None and not matches(key, meant):
            raise InputError(
                f"params_file: {key} is no node of this graph, expected {meant} or /**{meant[meant.rfind('/') :]}"
            )
    return file


def _keys(content: Any, above: str = "") -> Iterator[str]:
    """The nodes that a parameter file is for; namespaces may be nested."""
    for key, value in content.items() if isinstance(content, Mapping) else ():
        if key == _SHARED:
            yield above
        else:
            yield from _keys(value, f"{above}/{key}".replace("//", "/"))


def _rviz_config(namespace: str) -> str:
    """config/stvla.rviz with its topics in the namespace. rviz takes a topic as it stands in there."""
    content = yaml.safe_load((config_directory() / RVIZ_CONFIG).read_text())
    for display in content["Visualization Manager"]["Displays"]:
        for key in ("Topic", "Description Topic"):
            if key in display:
                display[key]["Value"] = f"{namespace}{display[key]['Value']}"
    return yaml.safe_dump(content, sort_keys=False)
