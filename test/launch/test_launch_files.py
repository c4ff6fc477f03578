"""The launch files against the graph that `stvla sim|robot` starts. Needs the packages `launch` and `launch_ros`."""

import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import pytest
import yaml

pytest.importorskip("launch_ros", reason="the packages launch and launch_ros come with a ROS 2 distribution")

import itertools

from graph_parts import take_for_a_recording
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription, OpaqueFunction
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch_ros.actions import Node

from launch import LaunchContext, LaunchService
from stvla_ros.errors import InputError
from stvla_ros.graph.arguments import PerceptionArguments, RobotArguments, SimArguments
from stvla_ros.graph.assemble import robot_graph, sim_graph
from stvla_ros.graph.supervisor import node_command
from stvla_ros.policy.inputs import INPUT_NAMES
from stvla_ros.shared_files import default_checkpoint

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
    ("robot", {"namespace": "cell/left", "respawn": "false", "autostart": False, "log_level": "warn"}),
    ("robot", {"start": "driver", "use_sim_time": "true"}),
]


def _declared(kind: str) -> dict[str, DeclareLaunchArgument]:
    source = PythonLaunchDescriptionSource(str(LAUNCH / f"{kind}.launch.py"))
    entities = source.get_launch_description(LaunchContext()).entities
    return {entity.name: entity for entity in entities if isinstance(entity, DeclareLaunchArgument)}


def _commands(kind: str, texts: dict[str, str], argv: Sequence[str] = ()) -> dict[str, list[str]]:
    """Command lines of the launch file's nodes, by executable, as launch_ros itself makes them."""
    context = LaunchContext(argv=argv)
    context.launch_configurations.update(texts)
    source = PythonLaunchDescriptionSource(str(LAUNCH / f"{kind}.launch.py"))
    commands = {}
    for entity in source.get_launch_description(context).entities:
        started = entity.execute(context) or []
        assert not started or isinstance(entity, OpaqueFunction)
        for node in (action for action in started if isinstance(action, Node)):
            node._perform_substitutions(context)
            # As its `execute` does, which would start it.
            context.extend_locals({"ros_specific_arguments": {"ns": f"__ns:={node.expanded_node_namespace}"}})
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
    for file in default_checkpoint().iterdir():
        Path("trained", file.name).symlink_to(file)
    record = json.loads(Path("trained/training.json").read_text())
    record["inputs"] |= {"traces": "none", "buffer": 7, "resize": "area"}
    Path("trained/training.json").unlink()
    Path("trained/training.json").write_text(json.dumps(record))
    take_for_a_recording(monkeypatch)
    texts = {name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in values.items()}
    commands = _commands(kind, texts)

    arguments_type, make_graph = KINDS[kind]
    [run_directory] = {Path(_options(command)[0][0]).parent for command in commands.values()}
    launched_parameters = yaml.safe_load((run_directory / "parameters.yaml").read_text())
    graph = make_graph(arguments_type(**values), run_directory)
    assert launched_parameters == yaml.safe_load((run_directory / "parameters.yaml").read_text())
    if "checkpoint" in values:
        server = launched_parameters["/**/vla_server"]["ros__parameters"]
        assert (server["traces"], server["resize"]) == (values.get("traces", "none"), "area")
        assert launched_parameters["/**/tracker"]["ros__parameters"]["buffer"] == 7
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
    assert "tracker" in _commands("robot", {"robot_name": "arm_7", "cell": "left", "sim": "false"})


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        ({"ros_namespace": "/cell"}, "/cell"),
        ({"ros_namespace": "/cell", "namespace": "left"}, "/cell/left"),
        ({"ros_namespace": "/cell/left", "namespace": "left"}, "/cell/left"),
    ],
)
def test_a_namespace_that_a_launch_file_pushed_is_around_all_nodes(
    texts: dict[str, str], expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    # As PushROSNamespace leaves it there.
    for executable, command in _commands("sim", texts).items():
        remappings, [enclave] = _options(command)[1:]
        assert {rule for rule in remappings if rule.startswith("__ns")} == {f"__ns:={expected}"}
        assert f"/tf:={expected}/tf" in remappings
        assert enclave == f"{expected}/{executable}"


UNKNOWN = [
    ("namespce:=left", "namespce: no such launch argument, did you mean namespace?"),
    ("xyz:=3", "xyz: no such launch argument, --show-args lists them"),
]


@pytest.mark.parametrize(("word", "message"), UNKNOWN)
@pytest.mark.parametrize("started", [["stvla_ros", "sim.launch.py"], [str(LAUNCH / "sim.launch.py")]])
def test_an_unknown_argument_on_the_command_line_is_refused(
    word: str, message: str, started: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["ros2", "launch", *started, "task:=panda_pick_cube", word])
    name, _, value = word.partition(":=")
    with pytest.raises(InputError, match=f"^{message.replace('?', '[?]')}$"):
        _commands("sim", {"task": "panda_pick_cube", name: value}, ["task:=panda_pick_cube", word])
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("started", [["my_cell", "sim.launch.py"], ["my/sim.launch.py"], ["my_cell", "cell.launch.py"]])
def test_an_argument_of_a_launch_file_that_includes_ours_is_its_own(
    started: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["ros2", "launch", *started, "rig:=3"])
    assert "sim_bridge" in _commands("sim", {"policy": "expert", "rig": "3"}, ["rig:=3"])


def test_the_arguments_are_read_by_their_types(tmp_path: Path) -> None:
    from stvla_ros.graph.ros_launch import read_arguments

    defaults = {name: str(f.default) for name, f in PerceptionArguments.__dataclass_fields__.items()}
    read = read_arguments(PerceptionArguments, defaults | {"buffer": "15", "fused": "true"})
    assert read == PerceptionArguments(buffer=15, fused=True)
    assert read_arguments(PerceptionArguments, defaults) == PerceptionArguments()


def _prefix_of_this_package() -> str:
    from ament_index_python.packages import get_package_prefix

    return get_package_prefix("stvla_ros")
