"""What a graph is made of: its processes, their parameters and remappings."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

Parameters = Mapping[str, Any]


@dataclass(frozen=True)
class NodeSpec:
    """One process of the graph.

    :param executable: name of the installed executable, one of ``nodes/executables.py``; or of what ``module`` runs.
    :param module: another package's module that is run as a process (``python -m``).
    :param parameters: by node name (a process may hold several nodes).
    :param remappings: topic name in the node to topic name in the graph.
    :param ends_graph: whether the graph ends, successfully, when this process does.
    :param command: another package's program instead: (package, executable, arguments…).
    :param on_failure: what happens when it fails: all ends, it alone starts again, or the others go on without it. Bad
        parameters (exit code 2) always end all.
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
        """Where SROS2 looks for the process' keys and permissions; of no effect while security is off."""
        return f"/{self.executable}"


@dataclass(frozen=True)
class Graph:
    """What is to be started.

    :param nodes: the processes.
    :param run_directory: where this run writes.
    :param parameter_files: ROS 2 parameter files for every node, later ones win.
    :param notes: lines for the user.
    """

    nodes: tuple[NodeSpec, ...]
    run_directory: Path
    parameter_files: tuple[Path, ...]
    notes: tuple[str, ...] = ()
