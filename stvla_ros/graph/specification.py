"""The parts of a graph: its processes, their parameters and remappings."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from stvla_ros.graph.names import full_name

Parameters = Mapping[str, Any]
DEFAULT_LOG_LEVEL = "info"


@dataclass(frozen=True)
class NodeSpec:
    """One process of the graph.

    :param executable: name of the installed executable, one of ``nodes/executables.py``; or of the program that
        ``module`` runs.
    :param module: another package's module that is run as a process (``python -m``).
    :param parameters: parameters by node name (a process may hold several nodes).
    :param remappings: topic names in the graph, by topic name in the node.
    :param ends_graph: whether the graph ends, successfully, when this process ends.
    :param command: program of another package instead: (package, executable, arguments…).
    :param on_failure: consequence of its failure: all processes end, it alone starts again, or the others continue
        without it. Bad parameters (exit code 2) always end all.
    :param part: part of the graph that can be started by itself; empty for a process that starts with any part.
    :param alone: topics on which no other process may publish, by this one's names.
    """

    executable: str
    parameters: Mapping[str, Parameters] = field(default_factory=dict)
    remappings: Mapping[str, str] = field(default_factory=dict)
    ends_graph: bool = False
    module: str = ""
    command: tuple[str, ...] = ()
    on_failure: Literal["stop", "restart", "ignore"] = "stop"
    part: Literal["perception", "server", "driver", "sim", ""] = ""
    alone: tuple[str, ...] = ()


@dataclass(frozen=True)
class Graph:
    """The processes to start.

    :param nodes: the processes.
    :param run_directory: folder of this run's files.
    :param parameter_files: ROS 2 parameter files for every node, later ones win.
    :param notes: lines for the user.
    :param namespace: namespace of all nodes, absolute; empty for the root.
    :param log_level: level of what the nodes write.
    :param own_domain: whether it may run in a ROS domain of its own, where nobody else is.
    """

    nodes: tuple[NodeSpec, ...]
    run_directory: Path
    parameter_files: tuple[Path, ...]
    notes: tuple[str, ...] = ()
    namespace: str = ""
    log_level: str = DEFAULT_LOG_LEVEL
    own_domain: bool = False

    def enclave(self, node: NodeSpec) -> str:
        """Where SROS2 looks for the process' keys and permissions; of no effect while security is off."""
        return full_name(node.executable, self.namespace)

    def ros_arguments(self, node: NodeSpec) -> list[str]:
        """What a process gets behind ``--ros-args`` beside parameters, remappings and namespace."""
        level = [] if self.log_level == DEFAULT_LOG_LEVEL else ["--log-level", self.log_level]
        return ["--enclave", self.enclave(node), *level]
