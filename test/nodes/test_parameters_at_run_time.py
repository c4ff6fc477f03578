"""No parameter of any node can be changed while its process runs: asked by the real service, in every state."""

import importlib
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import rclpy
from joint_robot import write_joint_robot
from node_process import TIMEOUT_S
from probe import shut_down
from rcl_interfaces.srv import GetParameters, ListParameters, SetParameters, SetParametersAtomically
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import Parameter, parameter_value_to_python
from servo_robot import write_servo_robot

from stvla_ros.nodes.executables import executables, module_of
from stvla_ros.nodes.kit.base import StvlaNode

# Another value than the one given, by its type.
OTHER = {
    bool: lambda value: not value,
    int: lambda value: value + 1,
    float: lambda value: value + 0.5,
    str: "x".__add__,
}
# What a node does not start without.
NEEDED = {
    "widowx_driver": ("robot:=widowx",),
    "fake_xs_arm": ("robot:=widowx",),
    "google_robot_driver": ("robot:=google_robot",),
    "moveit_servo_driver": ("robot:={folder}/servoed.yaml",),
    "joint_position_driver": ("robot:={folder}/joint_arm.yaml",),
    "fake_controllers": ("robot:={folder}/joint_arm.yaml",),
    "fake_servo": ("robot:={folder}/servoed.yaml",),
}


class Asked:
    """A node of this process, and a client of its services."""

    def __init__(self, make: Any, *parameters: str) -> None:
        rclpy.init(args=["--ros-args", *(word for each in parameters for word in ("-p", each))])
        self.node: StvlaNode = make()
        self._client = rclpy.create_node("client")
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self.node)
        self._executor.add_node(self._client)

    def call(self, service_type: type, service: str, request: Any) -> Any:
        client = self._client.create_client(service_type, f"/{self.node.get_name()}/{service}")
        assert client.wait_for_service(TIMEOUT_S)
        future = client.call_async(request)
        self._executor.spin_until_future_complete(future, TIMEOUT_S)
        return future.result()

    def close(self) -> None:
        self._executor.shutdown()
        self.node.end()
        self.node.destroy_node()
        self._client.destroy_node()
        shut_down()


@pytest.fixture
def ask() -> Iterator[Any]:
    made: list[Asked] = []

    def make(factory: Any, *parameters: str) -> Asked:
        made.append(Asked(factory, *parameters))
        return made[-1]

    yield make
    for asked in made:
        asked.close()


def factories(executable: str) -> list[Any]:
    """What makes the nodes that the executable's module defines."""
    module = importlib.import_module(module_of(executable))
    classes = [each for _, each in inspect.getmembers(module, inspect.isclass) if issubclass(each, StvlaNode)]
    own = [each for each in classes if each.__module__ == module.__name__]
    if executable == "fused":
        return [lambda: own[0](module.VlaServerNode(subscribe_to_perception=False))]
    return own


@pytest.mark.parametrize("executable", executables())
def test_every_parameter_is_refused_at_run_time(executable: str, ask: Any, tmp_path: Path) -> None:
    (factory,) = factories(executable)
    write_servo_robot(tmp_path)
    write_joint_robot(tmp_path)
    asked = ask(factory, *(each.format(folder=tmp_path) for each in NEEDED.get(executable, ())))
    names = asked.call(ListParameters, "list_parameters", ListParameters.Request()).result.names
    assert {"use_sim_time", "autostart", "input_timeout"} <= set(names)
    values = asked.call(GetParameters, "get_parameters", GetParameters.Request(names=names)).values
    wanted = []
    for name, value in zip(names, map(parameter_value_to_python, values), strict=True):
        other = OTHER[type(value)](value) if type(value) in OTHER else [*value, *value]
        wanted.append(Parameter(name, value=other).to_parameter_msg())
    results = asked.call(SetParameters, "set_parameters", SetParameters.Request(parameters=wanted)).results
    refused = {name: result.reason for name, result in zip(names, results, strict=True) if not result.successful}
    assert refused.keys() == set(names)
    assert f"start {asked.node.get_name()} anew" in refused["use_sim_time"]
    assert list(asked.call(GetParameters, "get_parameters", GetParameters.Request(names=names)).values) == list(values)


def test_a_parameter_is_refused_in_every_state_of_the_lifecycle_and_with_others_at_once(ask: Any) -> None:
    asked = ask(factories("tracker")[0])
    wanted = [Parameter(name, value=False).to_parameter_msg() for name in ("use_sim_time", "adaptive")]
    request = SetParametersAtomically.Request(parameters=wanted)
    for transition in ("configure", "activate", "deactivate", "cleanup"):
        getattr(asked.node, f"trigger_{transition}")()
        answer = asked.call(SetParametersAtomically, "set_parameters_atomically", request)
        assert not answer.result.successful
        assert asked.node.get_parameter("adaptive").value is True
