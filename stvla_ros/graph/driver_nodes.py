"""The nodes that move a robot: its driver, the stand-in of its arm, and what takes it through a session."""

from pathlib import Path

from stvla_ros.errors import InputError
from stvla_ros.graph.arguments import RobotArguments
from stvla_ros.graph.names import OF_DRIVERS
from stvla_ros.graph.specification import NodeSpec, Parameters
from stvla_ros.nodes.executables import executables, module_of
from stvla_ros.robots.embodiments import Embodiment
from stvla_ros.safe_files import check_instruction

# In the run's folder if the robot is a stand-in that can hurt nobody.
LATCHES = "latches"
# A stand-in is allowed to be late: a busy machine can do it no harm.
_NO_ROBOT = {"late_ticks": 0}


def robot_name(arguments: RobotArguments) -> str:
    """The robot's file as an absolute path: nodes may be started in another folder."""
    return str(Path(arguments.robot).resolve()) if arguments.robot.endswith((".yaml", ".yml")) else arguments.robot


def driver_nodes(arguments: RobotArguments, robot: str, embodiment: Embodiment, run_directory: Path) -> list[NodeSpec]:
    """The nodes that move the robot; none if a recording plays and the hardware is real.

    :param robot: name of the robot, or its file.
    :raises InputError: for a robot without a driver, or without the stand-in that is asked for.
    """
    if embodiment.driver is None:
        raise InputError(f"robot: {arguments.robot} has no driver, it exists only in simulation")
    kind = embodiment.driver.kind
    if arguments.use_fake_hardware and not kind.stand_in:
        raise InputError(f"use_fake_hardware: expected a robot with a stand-in, {arguments.robot} has none")
    if arguments.replay and not arguments.use_fake_hardware:
        return []
    driver = {
        "robot": robot,
        "dry_run": arguments.dry_run,
        "home_first": arguments.home_first,
        "mode": arguments.mode,
        "deadman": arguments.deadman,
        "estop_heartbeat": arguments.estop_heartbeat,
        "latch_folder": _latch_folder(arguments, run_directory),
    }
    if arguments.use_fake_hardware:
        driver |= _NO_ROBOT
    session = {"output": str(run_directory), "instruction": check_instruction(arguments.instruction, "instruction")}
    nodes = [
        driver_node(embodiment, driver),
        NodeSpec("robot_session", {"robot_session": session}, part="driver"),
    ]
    if arguments.use_fake_hardware:
        nodes.append(_stand_in(embodiment, {"robot": robot}))
    return nodes


def _latch_folder(arguments: RobotArguments, run_directory: Path) -> str:
    """A robot's stops outlive a run. A stand-in's do not: each run has a new one."""
    if arguments.latch_folder:
        return str(Path(arguments.latch_folder).expanduser().resolve())
    return str(run_directory / LATCHES) if arguments.use_fake_hardware else ""


def driver_node(embodiment: Embodiment, parameters: Parameters) -> NodeSpec:
    """:raises InputError: when another package's driver has the name of a node of this one."""
    driver = embodiment.driver
    # A dry run sends the arm nothing, so it has no say in who does.
    commands = () if parameters.get("dry_run") else driver.commands()
    return _in_module(driver.executable, driver.kind.module, parameters, (*OF_DRIVERS, *commands))


def _stand_in(embodiment: Embodiment, parameters: Parameters) -> NodeSpec:
    """In the robot's place; :raises InputError: likewise."""
    module, needs = embodiment.driver.kind.stand_in, embodiment.driver.needs()
    said = tuple(filter(None, (needs.joint_states_topic, needs.pose_topic)))
    return _in_module(module.rpartition(".")[2], module, parameters, said)


def _in_module(name: str, module: str, parameters: Parameters, alone: tuple[str, ...]) -> NodeSpec:
    if name not in executables():
        return NodeSpec(name, {name: parameters}, module=module, part="driver", alone=alone)
    if module != module_of(name):
        raise InputError(f"driver {name}: expected another name than that of a node of stvla_ros, for {module}")
    return NodeSpec(name, {name: parameters}, part="driver", alone=alone)
