"""The parts of a graph: its processes, their parameters and remappings."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

Parameters = Mapping[str, Any]


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
    """

    executable: str
    parameters: Mapping[str, Parameters] = field(default_factory=dict)
    remappings: Mapping[str, str] = field(default_factory=dict)
    ends_graph: bool = False
    module: str = ""
    command: tuple[str, ...] = ()
    on_failure: Literal["stop", "restart", "ignore"] = "stop"

    @property
    def enclave(self) -> str:
        """Name under which SROS2 finds the process' keys and permissions; without effect while security is off."""
        return f"/{self.executable}"


@dataclass(frozen=True)
class Graph:
    """The processes to start.

    :param nodes: the processes.
    :param run_directory: folder of this run's files.
    :param parameter_files: ROS 2 parameter files for every node, later ones win.
    :param notes: lines for the user.
    """

    nodes: tuple[NodeSpec, ...]
    run_directory: Path
    parameter_files: tuple[Path, ...]
    notes: tuple[str, ...] = ()
