"""Check 7: the robot's file, its limits and its geometry."""

from pathlib import Path

import numpy as np

from stvla_ros.control.safety.ceilings import ceilings
from stvla_ros.control.safety.limits import JointLimits
from stvla_ros.control.safety.rules import MotionRules
from stvla_ros.doctor.findings import Finding, Findings, error, note, ok, warning
from stvla_ros.errors import InputError
from stvla_ros.robots.embodiments import (
    ROBOT_DESCRIPTION,
    ArmDescription,
    DriverDescription,
    Embodiment,
    read_embodiment,
)
from stvla_ros.robots.urdf_arm import UrdfArm
from stvla_ros.shared_files import config_directory


def find_robot_file(robot: str) -> Path:
    """The file of a known robot, or the given file, readable or not.

    :param robot: name, or a YAML file.
    :raises InputError: for an unknown name.
    """
    if robot.endswith((".yaml", ".yml")):
        return Path(robot).expanduser().resolve()
    folder = config_directory() / "robots"
    names = sorted(file.stem for file in folder.glob("*.yaml"))
    if robot not in names:
        raise InputError(f"robot: expected one of {', '.join(names)}, or a YAML file, got {robot!r}")
    return folder / f"{robot}.yaml"


def check_robot_file(file: Path) -> Findings:
    try:
        embodiment = read_embodiment(file)
    except InputError as problem:
        yield error(str(problem), f"correct the file; {config_directory() / 'robots' / 'widowx.yaml'} is a whole one")
        return
    driver = embodiment.driver
    if driver is None:
        yield error(
            f"{file}: a robot that exists only in simulation, without a driver",
            "to drive one, write a file with driver: executable: joint_position_driver (docs/how-to/add-a-robot.md)",
        )
        return
    yield ok(
        f"{file}: {driver.executable}, {embodiment.control_hz:g} commands and {driver.tick_hz:g} setpoints a second"
    )
    yield from _check_rates(embodiment, driver)
    yield _ceilings(driver)
    try:
        kind = driver.kind
    except InputError as problem:
        yield error(str(problem), "mend or remove the package that the line names")
        return
    yield from _check_settings(driver)
    if kind.coordinates:
        yield from _check_names(driver, kind.coordinates)
    elif driver.arm is None:
        yield error(f"driver.arm is missing, {driver.executable} needs it", "give urdf, joints and tool_frame there")
    else:
        yield from _check_names(driver, driver.arm.joints)
        if driver.arm.urdf == ROBOT_DESCRIPTION:
            yield note("the URDF comes from the topic robot_description: see the section robot's state")
        else:
            yield from check_geometry(driver, driver.arm, driver.arm.urdf)


def _check_rates(embodiment: Embodiment, driver: DriverDescription) -> Findings:
    period_s = 1.0 / embodiment.control_hz
    if driver.tick_hz < 2.0 * embodiment.control_hz:
        yield error(
            f"tick_hz {driver.tick_hz:g}: at least two setpoints a control period are needed",
            f"raise tick_hz to {2.0 * embodiment.control_hz:g} or more",
        )
    try:
        driver.limits.check_stop(period_s)
    except InputError as problem:
        yield error(f"limits.{problem}", "change the joint's limits as the line says; the stop is part of each motion")
        return
    longest = max(joint.longest_stop_s for joint in driver.limits.joints.values())
    yield ok(f"every joint stops within a control period: {longest:.3f} s of {period_s:.3f} s")


def _ceilings(driver: DriverDescription) -> Finding:
    """The distances of the limits from the ceilings that no file may exceed. A file that exceeds one was refused."""
    limits, joints = driver.limits, driver.limits.joints.values()
    shares = {
        "joints' velocity": (max(joint.velocity for joint in joints), ceilings(JointLimits)["velocity"].high),
        **{name: (getattr(limits, name), each.high) for name, each in ceilings(limits).items()},
    }
    told = ", ".join(f"{name} {value:g} of {high:g}" for name, (value, high) in shares.items())
    return ok(f"all limits are below their ceilings: {told}")


def _check_settings(driver: DriverDescription) -> Findings:
    try:
        driver.needs()
    except InputError as problem:
        yield error(str(problem), "correct driver.settings in the robot's file")


def _check_names(driver: DriverDescription, names: tuple[str, ...]) -> Findings:
    try:
        driver.limits.check_joints(names)
    except InputError as problem:
        yield error(f"limits.{problem}", "give limits for each of these and no others")


def check_geometry(driver: DriverDescription, arm: ArmDescription, urdf: str) -> Findings:
    """:param urdf: file of the URDF, or the XML itself."""
    try:
        geometry = UrdfArm(urdf, arm.joints, arm.tool_frame)
    except InputError as problem:
        yield error(str(problem), "correct driver.arm (urdf, joints, tool_frame) or the URDF")
        return
    where = "the topic robot_description" if urdf.lstrip().startswith("<") else Path(urdf).name
    yield ok(f"{where} has the {len(arm.joints)} joints and the link {arm.tool_frame}")
    if set(arm.joints) != set(driver.limits.joints):
        return  # said already
    try:
        driver.limits.check_urdf(geometry.names, *geometry.position_limits, geometry.velocity_limits)
        yield ok("the file's limits of the joints are within the URDF's")
    except InputError as problem:
        yield error(str(problem), "tighten limits.joints in the file: the driver refuses to start")
    known = [np.array(position) for position in (driver.home, driver.rest) if position]
    rules = MotionRules(geometry, driver.limits, 1.0 / driver.tick_hz, known)
    for remark in rules.remarks:
        yield note(remark)
    if rules.touching:
        yield ok(rules.touching)
    for name in ("home", "rest"):
        if position := getattr(driver, name):
            yield from _check_pose(driver, rules, name, np.array(position))
        else:
            yield note(f"no driver.{name}: the service ~/{name} is not offered")


def _check_pose(driver: DriverDescription, rules: MotionRules, name: str, position: np.ndarray) -> Findings:
    limits = driver.limits
    beyond = [
        f"{joint} {value:g} ({limits.joints[joint].lower:g} to {limits.joints[joint].upper:g})"
        for joint, value in zip(rules.arm.names, position)
        if not limits.joints[joint].lower + limits.joint_margin
        <= value
        <= limits.joints[joint].upper - limits.joint_margin
    ]
    if beyond:
        yield error(
            f"driver.{name} is beyond the limits less joint_margin {limits.joint_margin:g}: {', '.join(beyond)}",
            f"move driver.{name} inside: the driver refuses to go there",
        )
    for broken in rules.broken(position):
        yield error(f"driver.{name}: {broken}", f"move driver.{name} away from there, or correct the limit")
    point = rules.arm.tool_pose(position)[:3, 3]
    tool = ", ".join(f"{value:.3f}" for value in point)
    # At rest, the arm may be folded up in any way.
    if name == "home" and limits.workspace.outside(point) > 0.0:
        yield warning(
            f"driver.home: the tool point ({tool}) m is outside the workspace {limits.workspace.low} to "
            f"{limits.workspace.high}",
            "move driver.home or limits.workspace: from outside, only motions back into the workspace are executed",
        )
    elif not beyond:
        yield ok(f"driver.{name} is within the limits, tool point ({tool}) m")
