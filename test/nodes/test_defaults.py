"""A parameter, an argument and a field of one name have one default, wherever they stand."""

import importlib
import inspect
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, fields, is_dataclass
from typing import Any

import pytest
import rclpy
from probe import shut_down

from stvla_ros.acting.setup import EvaluatedPolicy
from stvla_ros.doctor.command import DoctorArguments
from stvla_ros.errors import InputError
from stvla_ros.graph.arguments import RobotArguments, SimArguments
from stvla_ros.graph.replays import ReplayParameters
from stvla_ros.nodes.executables import executables, module_of
from stvla_ros.nodes.kit.base import StvlaNode
from stvla_ros.perception.compositor import CompositorConfig
from stvla_ros.perception.moving_points import SelectionParameters
from stvla_ros.perception.spatial_traces import SpatialTracesConfig
from stvla_ros.perception.tracking import TrackingConfig
from stvla_ros.policy.inputs import INPUT_NAMES, InputsConfig
from stvla_ros.policy.spatialvla.policy import SpatialVlaPolicy
from stvla_ros.policy.training_record import AUTO
from stvla_ros.settings import Range, ranges

CLASSES = (
    SimArguments,
    RobotArguments,
    DoctorArguments,
    EvaluatedPolicy,
    InputsConfig,
    SpatialTracesConfig,
    TrackingConfig,
    SelectionParameters,
    CompositorConfig,
    SpatialVlaPolicy,
)
ROBOTS = {"widowx_driver": "widowx", "fake_xs_arm": "widowx", "google_robot_driver": "google_robot"}
# Whose ranges the command checks before it starts them.
OF_NODES = {
    SimArguments: ("sim_bridge", "tracker", "fused"),
    RobotArguments: ("widowx_driver", "tracker"),
    ReplayParameters: ("replay",),
}
# Of one name, and meant to differ.
DIFFERENT = {
    "task": "a command falls back where the scenes cannot be had; a bare bridge runs what it is told",
    "output": "each writes its own kind of thing to a folder of its own",
    "image_topic": "the camera driver's is asked for; a recording's is found in the bag",
    "camera_info_topic": "likewise",
    "depth_topic": "likewise",
    "robot": "who starts a driver says which robot; a graph is for a WidowX",
    "sticky_gripper": "the graph and the evaluation take the robot's own; a bare server passes the opening through",
    "start": "the part of a graph; where a stand-in of an arm is at first",
    "use_sim_time": "a graph's goes by whether a recording is played",
    "pacing": "a simulator can wait for the policy, a robot cannot: it must not be driven as if it did",
}


def _node_class(executable: str) -> type[StvlaNode]:
    module = importlib.import_module(module_of(executable))
    [found] = [
        each
        for each in vars(module).values()
        if inspect.isclass(each) and issubclass(each, StvlaNode) and each.__module__ == module.__name__
    ]
    return found


@pytest.fixture(scope="module")
def declared() -> Iterator[dict[str, dict[str, tuple[Any, Range | None]]]]:
    """By executable the defaults of its node's parameters, and their ranges."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        yield _declared(monkeypatch)


def _declared(monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[str, tuple[Any, Range | None]]]:
    defaults: dict[str, dict[str, tuple[Any, Range | None]]] = {}
    declare = StvlaNode.parameter

    def noting(node: StvlaNode, name: str, default: Any, *arguments: Any, **options: Any) -> Any:
        limits = Range(options["low"], options["high"]) if "low" in options else None
        defaults[executable][name] = default, limits
        return declare(node, name, default, *arguments, **options)

    monkeypatch.setattr(StvlaNode, "parameter", noting)
    for executable in executables():
        defaults[executable] = {}
        robot = ROBOTS.get(executable)
        rclpy.init(args=["--ros-args", "-p", f"robot:={robot}"] if robot else [])
        # The perception of the fused executable is given the server beside it.
        server = (None,) if executable == "fused" else ()
        try:
            _node_class(executable)(*server).destroy_node()
        except InputError as error:
            # Those that are no robot's own, after the parameters that all of their kind have.
            assert executable in ("moveit_servo_driver", "joint_position_driver", "fake_controllers", "fake_servo"), (
                error
            )
        shut_down()
    return defaults


def _defaults_of(kind: type) -> dict[str, Any]:
    if is_dataclass(kind):
        given = {each.name: each.default_factory() for each in fields(kind) if each.default_factory is not MISSING}
        return given | {each.name: each.default for each in fields(kind) if each.default is not MISSING}
    parameters = inspect.signature(kind).parameters.values()
    return {each.name: each.default for each in parameters if each.default is not inspect.Parameter.empty}


def _as_text(value: Any) -> str:
    return repr("{}" if isinstance(value, Mapping) and not value else value)


def test_the_command_and_the_node_allow_the_same(declared: dict) -> None:
    compared = 0
    for kind, executables_ in OF_NODES.items():
        for name, limits in ranges(kind).items():
            of_nodes = {declared[executable][name][1] for executable in executables_ if name in declared[executable]}
            assert of_nodes == {limits}, name
            compared += 1
    assert compared >= 10


def test_a_replays_parameters_are_those_of_its_node(declared: dict) -> None:
    of_node = {
        name: tuple(value) if isinstance(value, list) else value for name, (value, _) in declared["replay"].items()
    }
    of_command = _defaults_of(ReplayParameters)
    assert {name: of_node.get(name) for name in of_command} == of_command


def test_what_stands_in_several_places_has_one_default(declared: dict) -> None:
    of_nodes = {place: {name: value for name, (value, _) in found.items()} for place, found in declared.items()}
    places = of_nodes | {kind.__name__: _defaults_of(kind) for kind in CLASSES}
    by_name: dict[str, dict[str, list[str]]] = {}
    for place, defaults in places.items():
        for name, default in defaults.items():
            # Not given: then it is the record's own default, which is compared.
            if name not in INPUT_NAMES or default != AUTO:
                by_name.setdefault(name, {}).setdefault(_as_text(default), []).append(place)
    assert len(by_name["buffer"]["30"]) >= 3 and len(by_name["policy"]["'stvla'"]) >= 3, "nothing was compared"
    disagreeing = {name: found for name, found in by_name.items() if len(found) > 1}
    assert not [f"{name}: {found}" for name, found in disagreeing.items() if name not in DIFFERENT]
    assert DIFFERENT.keys() == disagreeing.keys(), "no longer different"
