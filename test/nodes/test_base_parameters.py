"""Parameters of every node: what cannot be used is refused at the start, in one line that names the parameter."""

import importlib
from collections.abc import Iterator
from pathlib import Path

import pytest
import rclpy
from node_process import NodeProcess
from probe import shut_down
from rcl_interfaces.msg import ParameterType
from rclpy.parameter import Parameter

from stvla_ros.errors import InputError
from stvla_ros.nodes.executables import module_of
from stvla_ros.nodes.kit.base import StvlaNode

NODES = {
    "tracker": "TrackerNode",
    "depth": "DepthNode",
    "compositor": "CompositorNode",
    "vla_server": "VlaServerNode",
    "sim_bridge": "SimBridgeNode",
    "episode_recorder": "EpisodeRecorderNode",
}

TRACKERS = "lucas_kanade, kinematic, cotracker, tapnext"


@pytest.fixture
def make() -> Iterator:
    """Make a real node with `-p` arguments, in this process."""
    made: list[StvlaNode] = []

    def make(name: str, *parameters: str) -> StvlaNode:
        rclpy.init(args=["--ros-args", *(word for parameter in parameters for word in ("-p", parameter))])
        made.append(getattr(importlib.import_module(module_of(name)), NODES[name])())
        made[-1].check_no_unknown_parameters()
        return made[-1]

    yield make
    for node in made:
        node.destroy_node()
    shut_down()


@pytest.mark.parametrize("name", NODES)
def test_every_parameter_is_described_and_read_only(name: str, make) -> None:
    node = make(name)
    own = [key for key in node._parameters if key not in ("use_sim_time", "start_type_description_service")]
    for key in own:
        descriptor = node.describe_parameter(key)
        assert descriptor.description, key
        assert descriptor.read_only, key
        if descriptor.type in (ParameterType.PARAMETER_INTEGER, ParameterType.PARAMETER_DOUBLE):
            assert descriptor.integer_range or descriptor.floating_point_range, key
    assert {"autostart", "input_timeout"} <= set(own)


@pytest.mark.parametrize("name", NODES)
def test_an_unknown_parameter_is_refused_and_the_known_ones_are_told(name: str, make) -> None:
    with pytest.raises(InputError, match=r"^parameter bufer: \w+ has no such parameter; it has: .*autostart"):
        make(name, "bufer:=7")


@pytest.mark.parametrize(
    ("name", "parameter", "message"),
    [
        ("tracker", "tracker:=foo", f"parameter tracker: expected one of: {TRACKERS}, got 'foo'"),
        ("tracker", "buffer:=1", "parameter buffer: expected a whole number from 2 to 1000, got 1"),
        ("tracker", "buffer:=7.5", "parameter buffer: expected a whole number from 2 to 1000, got 7.5"),
        ("tracker", "buffer:=many", "parameter buffer: expected a whole number from 2 to 1000, got 'many'"),
        ("tracker", "adaptive:=5", "parameter adaptive: expected a value like True, got 5"),
        ("tracker", "min_extent:=2.0", "parameter min_extent: expected a number from 0.0001 to 0.99, got 2.0"),
        ("tracker", "min_extent:=.nan", "parameter min_extent: expected a number from 0.0001 to 0.99, got nan"),
        ("tracker", "tracker_parameters:='[1]'", "parameter tracker_parameters: expected a YAML mapping"),
        ("tracker", "queue_size:=0", "parameter queue_size: expected a whole number from 1 to 1000, got 0"),
        (
            "tracker",
            "sensor_reliability:=maybe",
            "parameter sensor_reliability: expected one of: best_effort, reliable",
        ),
        (
            "depth",
            "depth:=foo",
            "parameter depth: expected one of: sensor, constant, zoedepth, depth_anything, got 'foo'",
        ),
        ("compositor", "variant:=D", "parameter variant: expected one of: A, B, C, got 'D'"),
        ("compositor", "line_width:=4", "line_width: expected an odd number of pixels from 1 to 31, got 4"),
        ("vla_server", "policy:=foo", "parameter policy: expected one of expert"),
        ("vla_server", "policy:=[a, b]", "parameter policy: expected a value like"),
        ("vla_server", "control_hz:=0", "parameter control_hz: expected a number from 0.1 to 1000.0, got 0"),
        ("vla_server", "control_hz:=fast", "parameter control_hz: expected a number from 0.1 to 1000.0, got 'fast'"),
        ("sim_bridge", "pacing:=warp", "parameter pacing: expected one of: lockstep, realtime, got 'warp'"),
        ("sim_bridge", "episodes:=-1", "parameter episodes: expected a whole number from 0 to 1000000, got -1"),
        ("sim_bridge", "reset_services:=7", "parameter reset_services: expected a value like"),
        ("episode_recorder", "fps:=0.0", "parameter fps: expected a number from 1.0 to 120.0, got 0.0"),
    ],
)
def test_a_bad_value_is_refused_naming_the_parameter(name: str, parameter: str, message: str, make) -> None:
    with pytest.raises(InputError) as error:
        make(name, parameter)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_whole_number_is_a_number(make) -> None:
    assert make("vla_server", "control_hz:=10").get_parameter("control_hz").value == 10.0


def test_a_parameter_cannot_be_changed_while_the_node_runs(make) -> None:
    node = make("tracker")
    (result,) = node.set_parameters([Parameter("buffer", value=7)])
    assert not result.successful
    assert node.get_parameter("buffer").value == 30


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("tracker", {"tracker_parameters": "{nonsense: 1}"}, "tracker lucas_kanade: unknown parameter 'nonsense'"),
        ("depth", {"depth_parameters": "{nonsense: 1}"}, "depth: backend 'sensor': "),
        ("sim_bridge", {"task": "foo"}, "task 'foo': no such task"),
        ("episode_recorder", {"output": "/dev/null/x"}, "parameter output: expected a folder"),
    ],
)
def test_what_cannot_be_configured_ends_the_process_with_one_line(
    name: str, parameters: dict[str, str], message: str, tmp_path: Path
) -> None:
    process = NodeProcess(name, tmp_path, parameters)
    try:
        assert process.wait() == 2, process.output
    finally:
        process.kill()
    lines = process.output.splitlines()
    assert message in lines[0]
    assert len(lines) == 1, process.output


def test_a_bad_parameter_ends_the_process_with_one_line(tmp_path: Path) -> None:
    process = NodeProcess("tracker", tmp_path, {"tracker": "foo"})
    try:
        assert process.wait() == 2
    finally:
        process.kill()
    assert process.output == f"error: parameter tracker: expected one of: {TRACKERS}, got 'foo'\n"


def test_an_unreadable_parameter_file_is_told_without_a_traceback(tmp_path: Path) -> None:
    process = NodeProcess("tracker", tmp_path, arguments=("--params-file", str(tmp_path / "nowhere.yaml")))
    try:
        assert process.wait() == 2
    finally:
        process.kill()
    assert "nowhere.yaml" in process.output
    assert "Traceback" not in process.output
