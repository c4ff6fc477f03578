"""The graph for `ros2 launch`: the launch arguments, and the same processes that `stvla sim|robot` starts.

Only the launch files import this module; it needs the packages `launch` and `launch_ros` of a ROS 2 distribution.
"""

import dataclasses
import difflib
import itertools
import sys
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from ament_index_python.packages import PackageNotFoundError, get_package_prefix
from launch.actions import DeclareLaunchArgument, LogInfo, OpaqueFunction, RegisterEventHandler, Shutdown
from launch.event_handlers import OnProcessExit, OnShutdown
from launch.events.process import ProcessExited
from launch.utilities.type_utils import coerce_to_type
from launch_ros.actions import Node

from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity
from stvla_ros.errors import InputError
from stvla_ros.graph.arguments import PerceptionArguments, RobotArguments, SimArguments, field_docstrings
from stvla_ros.graph.closing import closing_line
from stvla_ros.graph.names import absolute_namespace
from stvla_ros.graph.place import place_of
from stvla_ros.graph.run import describe_graph
from stvla_ros.graph.specification import Graph, NodeSpec
from stvla_ros.graph.supervisor import (
    BAD_PARAMETERS,
    CONSEQUENCES,
    INTERRUPT_GRACE_S,
    RESTART_DELAY_S,
    TERMINATE_GRACE_S,
)

Kind = TypeVar("Kind", bound=PerceptionArguments)
# The similarity of "episode" and "episodes".
MISSPELLING_CUTOFF = 0.85
PACKAGE = "stvla_ros"
# `ros2 launch`'s own options go the same way.
_OF_LAUNCH = ("launch-prefix", "launch-prefix-filter")


def launch_description(kind: type[PerceptionArguments], file: str) -> LaunchDescription:
    """The result of a launch file.

    :param kind: SimArguments or RobotArguments; every field is a launch argument.
    :param file: the launch file.
    """
    return LaunchDescription([*declare_arguments(kind), OpaqueFunction(function=_start, args=[kind, Path(file)])])


def declare_arguments(kind: type[PerceptionArguments]) -> list[DeclareLaunchArgument]:
    """One launch argument for each field, with the field's docstring, default and choices."""
    types, descriptions = get_type_hints(kind), field_docstrings(kind)
    return [
        DeclareLaunchArgument(
            field.name,
            default_value=_to_text(field.default),
            description=descriptions[field.name],
            choices=list(get_args(types[field.name])) if get_origin(types[field.name]) is Literal else None,
        )
        for field in dataclasses.fields(kind)
    ]


def read_arguments(kind: type[Kind], texts: Mapping[str, str]) -> Kind:
    """The arguments from the launch configurations.

    :param texts: launch configurations by name; those of an including launch file may be among them.
    :raises InputError: when a value has the wrong type, or a name looks like a misspelt argument.
    """
    types = get_type_hints(kind)
    # An including launch file's own arguments are visible here too, so only names that nearly fit can be recognised as
    # mistakes.
    for unknown in texts.keys() - types.keys():
        if close := difflib.get_close_matches(unknown, types, n=1, cutoff=MISSPELLING_CUTOFF):
            raise InputError(f"{unknown}: no such launch argument, did you mean {close[0]}?")
    return kind(**{name: _from_text(name, texts[name], type_) for name, type_ in types.items()})


def graph_entities(graph: Graph) -> list[LaunchDescriptionEntity]:
    """Launch actions that start the graph, and end or fail when it does.

    :raises InputError: when another package's program is not installed.
    """
    stack = ExitStack()
    environment, place = stack.enter_context(place_of(graph))
    notes = [LogInfo(msg=f"note: {note}") for note in filter(None, (*graph.notes, place))]
    nodes = [(spec, _node(spec, graph, environment)) for spec in graph.nodes]
    # Handlers first: a process may end at once.
    handlers = [
        RegisterEventHandler(OnProcessExit(target_action=node, on_exit=_ExitHandler(spec))) for spec, node in nodes
    ]

    def say(_: LaunchContext) -> list[LogInfo]:
        stack.close()
        return [LogInfo(msg=closing_line(graph.run_directory))]

    said = OpaqueFunction(function=say)
    results = RegisterEventHandler(OnShutdown(on_shutdown=[said]))
    return [*notes, results, *handlers, *(node for _, node in nodes)]


def _start(
    context: LaunchContext, kind: type[SimArguments | RobotArguments], file: Path
) -> list[LaunchDescriptionEntity]:
    if _is_on_command_line(file):
        # In a file that includes it, they may be that one's own.
        check_names(kind, context.argv)
    arguments = read_arguments(kind, context.launch_configurations)
    # What is around it (PushRosNamespace) is part of every name.
    pushed = context.launch_configurations.get("ros_namespace", "")
    arguments = dataclasses.replace(arguments, namespace=absolute_namespace(arguments.namespace, pushed))
    return graph_entities(describe_graph(arguments))


def check_names(kind: type[PerceptionArguments], words: Iterable[str]) -> None:
    """
    :param words: words of the command line behind the launch file.
    :raises InputError: for an argument that the launch file does not have.
    """
    known = [field.name for field in dataclasses.fields(kind)]
    for word in words:
        name, separator, _ = word.partition(":=")
        if separator and name not in known and name not in _OF_LAUNCH:
            close = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {close[0]}?" if close else "--show-args lists them"
            raise InputError(f"{name}: no such launch argument, {hint}")


def _is_on_command_line(file: Path) -> bool:
    """`ros2 launch PACKAGE FILE`, or `ros2 launch PATH`."""
    words = sys.argv[1:]
    by_package = any(pair == (PACKAGE, file.name) for pair in itertools.pairwise(words))
    return by_package or any(Path(word).name == file.name and Path(word).resolve() == file.resolve() for word in words)


def _node(spec: NodeSpec, graph: Graph, environment: Mapping[str, str]) -> Node:
    # No name: it would rename every node of a process with several.
    return Node(
        **_program(spec),
        parameters=[str(file) for file in graph.parameter_files],
        namespace=graph.namespace or None,
        ros_arguments=graph.ros_arguments(spec),
        remappings=list(spec.remappings.items()),
        output="screen",
        additional_env={"PYTHONUNBUFFERED": "1", **environment},
        sigterm_timeout=str(INTERRUPT_GRACE_S),
        sigkill_timeout=str(TERMINATE_GRACE_S),
        respawn=spec.on_failure == "restart",
        respawn_delay=RESTART_DELAY_S,
    )


def _program(spec: NodeSpec) -> dict[str, Any]:
    """The arguments of ``Node`` that select the program."""
    if spec.module:
        return {"executable": sys.executable, "arguments": ["-m", spec.module], "exec_name": spec.executable}
    package, executable, *arguments = spec.command or (PACKAGE, spec.executable)
    try:
        get_package_prefix(package)
    except PackageNotFoundError:
        raise InputError(f"{executable}: the ROS 2 package {package} is not installed") from None
    return {"package": package, "executable": executable, "arguments": arguments}


class _ExitHandler:
    """Called when the process of ``spec`` has ended."""

    def __init__(self, spec: NodeSpec) -> None:
        self._spec = spec

    def __call__(self, event: ProcessExited, context: LaunchContext) -> Shutdown | LogInfo | None:
        if context.is_shutdown:
            return None
        code = event.returncode
        if code == 0 and self._spec.ends_graph:
            return Shutdown(reason=f"{self._spec.executable} is done")
        how = f"killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        on_failure = "stop" if code == BAD_PARAMETERS else self._spec.on_failure
        if on_failure != "stop":
            return LogInfo(msg=f"error: node {self._spec.executable} {how}; {CONSEQUENCES[on_failure]}")
        # An exception makes `ros2 launch` stop everything and exit with an error; the line is its message.
        raise RuntimeError(f"node {self._spec.executable} {how}; stopping all")


def _to_text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _from_text(name: str, text: str, type_: Any) -> Any:
    if get_origin(type_) is Literal:
        return text
    words = [word for each in get_args(type_) for word in get_args(each)]
    if text in words:
        return text
    if words:
        [type_] = [each for each in get_args(type_) if get_origin(each) is not Literal]
    try:
        value = coerce_to_type(text, type_)
        # launch does not convert an empty text.
        if isinstance(value, type_):
            return value
    except ValueError:
        pass
    expected = {bool: "true or false", int: "a whole number"}[type_]
    raise InputError(f"{name}: expected {' or '.join([expected, *words])}, got {text!r}")
