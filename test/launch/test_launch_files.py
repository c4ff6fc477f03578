"""The launch files against the graph that `stvla sim|robot` starts. Needs the packages `launch` and `launch_ros`."""

import dataclasses
from pathlib import Path
from typing import get_args

import pytest
import yaml

pytest.importorskip("launch_ros", reason="the packages launch and launch_ros come with a ROS 2 distribution")

import itertools

from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription, OpaqueFunction
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch_ros.actions import Node

from launch import LaunchContext, LaunchService
from stvla_ros.errors import InputError
from stvla_ros.graph.arguments import PerceptionArguments, RobotArguments, SimArguments
from stvla_ros.graph.assemble import robot_graph, sim_graph
from stvla_ros.graph.supervisor import node_command
from stvla_ros.policy.inputs import INPUT_NAMES

LAUNCH = Path(__file__).parents[2] / "launch"
KINDS = {"sim": (SimArguments, sim_graph), "robot": (RobotArguments, robot_graph)}

CASES = [
    ("sim", {}),
    ("sim", {"fused": True}),
    ("sim", {"record": True, "pacing": "realtime", "buffer": 7, "video": False, "task": "panda_pick_cube"}),
    ("sim", {"checkpoint": "trained", "traces": "rgb"}),
    ("robot", {"checkpoint": "trained"}),
    ("sim", {"tracker_parameters": "{num_points: 50}", "adaptive": "false", "params_file": "mine.yaml"}),
    ("robot", {}),
    ("robot", {"fused": True, "image_topic": "cam/image"}),
    ("robot", {"robot": "google_robot", "replay": "film.mp4"}),
]


def _declared(kind: str) -> dict[str, DeclareLaunchArgument]:
    source = PythonLaunchDescriptionSource(str(LAUNCH / f"{kind}.launch.py"))
    entities = source.get_launch_description(LaunchContext()).entities
    return {entity.name: entity for entity in entities if isinstance(entity, DeclareLaunchArgument)}


def _commands(kind: str, texts: dict[str, str]) -> dict[str, list[str]]:
    """Command lines of the launch file's nodes, by executable, as launch_ros itself makes them."""
    context = LaunchContext()
    context.launch_configurations.update(texts)
    source = PythonLaunchDescriptionSource(str(LAUNCH / f"{kind}.launch.py"))
    commands = {}
    for entity in source.get_launch_description(context).entities:
        started = entity.execute(context) or []
        assert not started or isinstance(entity, OpaqueFunction)
        for node in (action for action in started if isinstance(action, Node)):
            node._perform_substitutions(context)
            node.prepare(context)
            command = node.process_description.final_cmd
            assert f"/lib/{node.node_package}/" in command[0]
            commands[Path(command[0]).name] = command
    return commands


def _options(command: list[str]) -> tuple[list[str], set[str], list[str]]:
    """(parameter files in order, remappings, enclaves) behind --ros-args."""
    files = [value for flag, value in itertools.pairwise(command) if flag == "--params-file"]
    remappings = {value for flag, value in itertools.pairwise(command) if flag == "-r"}
    return files, remappings, [value for flag, value in itertools.pairwise(command) if flag == "--enclave"]


@pytest.mark.parametrize(("kind", "values"), CASES)
def test_a_launch_file_starts_what_the_command_starts(
    kind: str, values: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.yaml").write_text("/compositor: {ros__parameters: {line_width: 3}}")
    Path("trained").mkdir()
    Path("trained/config.json").write_text('{"model_type": "spatialvla"}')
    Path("trained/training.json").write_text('{"inputs": {"traces": "none", "buffer": 7, "resize": "area"}}')
    texts = {name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in values.items()}
    commands = _commands(kind, texts)

    arguments_type, make_graph = KINDS[kind]
    [run_directory] = {Path(_options(command)[0][0]).parent for command in commands.values()}
    launched_parameters = yaml.safe_load((run_directory / "parameters.yaml").read_text())
    graph = make_graph(arguments_type(**values), run_directory)
    assert launched_parameters == yaml.safe_load((run_directory / "parameters.yaml").read_text())
    if "checkpoint" in values:
        server = launched_parameters["/vla_server"]["ros__parameters"]
        assert (server["traces"], server["resize"]) == (values.get("traces", "none"), "area")
        assert launched_parameters["/tracker"]["ros__parameters"]["buffer"] == 7
    assert list(commands) == [node.executable for node in graph.nodes]
    for node in graph.nodes:
        assert _options(commands[node.executable]) == _options(node_command(node, graph))
    # A process that holds several nodes would lose their names to a __node remapping.
    assert not any("__node" in part for command in commands.values() for part in command)


@pytest.mark.parametrize("kind", KINDS)
def test_every_field_is_a_described_launch_argument_with_its_default(kind: str) -> None:
    declared = _declared(kind)
    fields = dataclasses.fields(KINDS[kind][0])
    assert list(declared) == [field.name for field in fields]
    for field in fields:
        argument = declared[field.name]
        assert len(argument.description) > 10
        assert argument.choices is None or tuple(argument.choices) == get_args(field.type)
    assert declared["variant"].choices == ["auto", "A", "B", "C"]
    for name in INPUT_NAMES:
        assert [part.text for part in declared[name].default_value] == ["auto"]


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ({"episodes": "many"}, "episodes: expected a whole number, got 'many'"),
        ({"fused": "perhaps"}, "fused: expected true or false, got 'perhaps'"),
        ({"fused": ""}, "fused: expected true or false, got ''"),
        ({"episode": "1"}, "episode: no such launch argument, did you mean episodes?"),
        ({"tracker": "kalman"}, "tracker: expected one of"),
        ({"buffer": "many"}, "buffer: expected a whole number or auto, got 'many'"),
        ({"tracker_parameters": ""}, "tracker_parameters: expected a YAML mapping"),
        ({"rviz": "true"}, "rviz2: the ROS 2 package rviz2 is not installed"),
    ],
)
def test_a_bad_launch_argument_is_one_line_that_names_it(
    texts: dict[str, str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    if "rviz" in texts:
        # A distribution may well have it; the packages of the workspace alone do not.
        monkeypatch.setenv("AMENT_PREFIX_PATH", _prefix_of_this_package())
    with pytest.raises(InputError) as raised:
        _commands("sim", texts)
    assert str(raised.value).startswith(message)
    assert "\n" not in str(raised.value)


def test_a_bad_choice_ends_the_launch_with_an_error_before_anything_starts(tmp_path: Path, capfd, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ROS_LOG_DIR", str(tmp_path))
    service = LaunchService()
    source = PythonLaunchDescriptionSource(str(LAUNCH / "sim.launch.py"))
    service.include_launch_description(IncludeLaunchDescription(source, launch_arguments=[("variant", "D")]))
    assert service.run() == 1
    assert not (tmp_path / "out").exists()


def test_arguments_of_an_including_launch_file_do_no_harm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert "tracker" in _commands("robot", {"robot_name": "arm_7", "namespace": "left", "use_sim_time": "false"})


def test_the_arguments_are_read_by_their_types(tmp_path: Path) -> None:
    from stvla_ros.graph.ros_launch import read_arguments

    defaults = {name: str(f.default) for name, f in PerceptionArguments.__dataclass_fields__.items()}
    read = read_arguments(PerceptionArguments, defaults | {"buffer": "15", "fused": "true"})
    assert read == PerceptionArguments(buffer=15, fused=True)
    assert read_arguments(PerceptionArguments, defaults) == PerceptionArguments()


def _prefix_of_this_package() -> str:
    from ament_index_python.packages import get_package_prefix

    return get_package_prefix("stvla_ros")
