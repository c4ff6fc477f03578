"""The robots that the stack knows: config/robots/*.yaml, or a file of the user's own."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from stvla_ros.control.caps import Caps
from stvla_ros.control.safety.limits import SafetyLimits
from stvla_ros.errors import InputError
from stvla_ros.robots.drivers import DRIVERS, DriverKind, DriverNeeds
from stvla_ros.settings import build, read_mapping
from stvla_ros.shared_files import config_directory

# Value in place of a URDF file: the URDF comes from the topic of this name.
ROBOT_DESCRIPTION = "robot_description"
# Limits of a robot that exists in simulation alone: the WidowX's.
_SIMULATED_CAPS = Caps(translation=0.05, rotation=0.35)


@dataclass(frozen=True)
class ArmDescription:
    """
    :param urdf: file of the URDF, relative to the robot's own file; or ``robot_description`` for the topic.
    :param joints: names of the joints, in the order of every position.
    :param tool_frame: link whose origin is the tool point.
    """

    urdf: str
    joints: tuple[str, ...]
    tool_frame: str


@dataclass(frozen=True)
class DriverDescription:
    """The driver of a robot, and its settings.

    :param executable: name of the driver node, one of ``DRIVERS.names()``.
    :param tick_hz: rate of setpoints, 1/s.
    :param arm: geometry of the arm; None for a robot that takes tool poses.
    :param home: joint positions at the start of the work, radians.
    :param rest: joint positions at which the torque may be switched off, radians.
    :param settings: settings of this driver: names of topics, groups, joints.
    """

    executable: str
    tick_hz: float
    limits: SafetyLimits
    arm: ArmDescription | None = None
    home: tuple[float, ...] = ()
    rest: tuple[float, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # DRIVERS.check is not used: a simulation does not need what the robot's driver needs.
        if self.executable not in DRIVERS.names():
            raise InputError(f"executable: expected one of {', '.join(DRIVERS.names())}, got {self.executable!r}")
        if not 1.0 <= self.tick_hz <= 1000.0:
            raise InputError(f"tick_hz: expected 1 to 1000, got {self.tick_hz}")
        for name in ("home", "rest"):
            given = len(getattr(self, name))
            if given and (self.arm is None or given != len(self.arm.joints)):
                raise InputError(f"{name}: expected a number for each of the arm's joints, got {given}")

    @property
    def kind(self) -> DriverKind:
        """:raises InputError: when another package provides it and it cannot be used."""
        return DRIVERS.find(self.executable)

    def needs(self) -> DriverNeeds:
        """The driver's requirements on the running system.

        :raises InputError: naming the setting that is unknown, missing or wrong; as :attr:`kind`.
        """
        return self.kind.needs(self._own_settings(), self.arm.joints if self.arm else ())

    def commands(self) -> tuple[str, ...]:
        """Topics by which the driver commands the arm, where nobody else may publish. :raises InputError: likewise."""
        return self.kind.commands(self._own_settings())

    def _own_settings(self) -> Any:
        return build(self.kind.settings, dict(self.settings), "driver.settings.")


@dataclass(frozen=True)
class Embodiment:
    """
    :param name: name of the file, without its ending.
    :param base_frame: base link of the robot's URDF, in which commands are expressed.
    :param control_hz: control steps per second (published evaluation settings of SimplerEnv, arXiv 2405.05941).
    :param sticky_gripper_steps: control steps for which a change of the gripper is held (published evaluation settings
        of DelinQu/SimplerEnv-OpenVLA; Panda: ours).
    :param unnorm_key: key of the robot's action statistics in SpatialVLA's checkpoints; empty where they have none.
    :param driver: driver of the robot; None for a robot that exists in simulation alone.
    """

    name: str
    base_frame: str
    control_hz: float
    sticky_gripper_steps: int
    unnorm_key: str
    driver: DriverDescription | None = None

    def __post_init__(self) -> None:
        if not 0.1 <= self.control_hz <= 1000.0:
            raise InputError(f"control_hz: expected 0.1 to 1000, got {self.control_hz}")

    @property
    def caps(self) -> Caps:
        """The largest motion of one command that the driver's gate accepts."""
        if self.driver is None:
            return _SIMULATED_CAPS
        return Caps(self.driver.limits.step_translation, self.driver.limits.step_rotation)


@cache
def embodiments() -> Mapping[str, Embodiment]:
    """The robots in this package, by name."""
    return {file.stem: read_embodiment(file) for file in sorted((config_directory() / "robots").glob("*.yaml"))}


def read_embodiment(file: Path) -> Embodiment:
    """:raises InputError: naming the file and the key that is unknown, missing or wrong."""
    content = read_mapping(file, "robot")
    try:
        found = build(Embodiment, {"name": file.stem, **content})
    except InputError as error:
        raise InputError(f"robot {file}: {error}") from None
    if found.driver is None or found.driver.arm is None or found.driver.arm.urdf == ROBOT_DESCRIPTION:
        return found
    arm = dataclasses.replace(found.driver.arm, urdf=str(file.parent / found.driver.arm.urdf))
    return dataclasses.replace(found, driver=dataclasses.replace(found.driver, arm=arm))


def find_embodiment(name: str) -> Embodiment:
    """
    :param name: name of a robot in this package, or a YAML file of the same form.
    :raises InputError: for an unknown name; the message lists what exists.
    """
    if name.endswith((".yaml", ".yml")):
        return read_embodiment(Path(name).resolve())
    if name not in embodiments():
        raise InputError(f"robot: expected one of {', '.join(embodiments())}, or a YAML file, got {name!r}")
    return embodiments()[name]
