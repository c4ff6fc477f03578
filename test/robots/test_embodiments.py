"""The robots' files, and what is wrong with bad ones."""

import copy
import re
from pathlib import Path

import numpy as np
import pytest
import yaml

from stvla_ros.errors import InputError
from stvla_ros.robots.embodiments import embodiments, find_embodiment, read_embodiment
from stvla_ros.shared_files import config_directory

WIDOWX = yaml.safe_load((config_directory() / "robots" / "widowx.yaml").read_text())


def changed(path: str, value: object) -> dict:
    content = copy.deepcopy(WIDOWX)
    *blocks, last = path.split(".")
    block = content
    for key in blocks:
        block = block[key]
    if value is None:
        del block[last]
    else:
        block[last] = value
    return content


def test_the_robots_that_come_along_can_stop_within_a_control_period() -> None:
    controlled = {"ur5e_robotiq", "fr3", "xarm6", "xarm7", "so101"}
    assert set(embodiments()) == {"widowx", "google_robot", "panda"} | controlled
    for robot in embodiments().values():
        if robot.driver:
            robot.driver.limits.check_stop(1.0 / robot.control_hz)


def test_home_lies_in_the_workspace_and_rest_within_the_joints_limits() -> None:
    from stvla_ros.robots.urdf_arm import UrdfArm

    driver = find_embodiment("widowx").driver
    arm = UrdfArm(driver.arm.urdf, driver.arm.joints, driver.arm.tool_frame)
    assert driver.limits.workspace.outside(arm.tool_pose(np.array(driver.home))[:3, 3]) == 0.0
    for position in (driver.home, driver.rest):
        for name, value in zip(driver.arm.joints, position):
            joint, margin = driver.limits.joints[name], driver.limits.joint_margin
            assert joint.lower + margin <= value <= joint.upper - margin


@pytest.mark.parametrize("name", [name for name, each in embodiments().items() if each.driver])
def test_home_and_rest_are_within_the_joints_limits_and_the_settings_are_the_drivers(name: str) -> None:
    driver = find_embodiment(name).driver
    assert driver.needs().start
    for position in (driver.home, driver.rest):
        for joint, value in zip(driver.arm.joints if driver.arm else (), position):
            limits, margin = driver.limits.joints[joint], driver.limits.joint_margin
            assert limits.lower + margin <= value <= limits.upper - margin, joint
    if driver.arm:
        assert set(driver.arm.joints) == set(driver.limits.joints)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("driver.tick_hz", "fast", "driver.tick_hz: expected float"),
        ("driver.executable", "arm", "driver.executable: expected one of widowx_driver"),
        (
            "driver.limits.workspace",
            {"low": [0, 0, 0], "high": [1, 0, 1]},
            "driver.limits.workspace: expected low < high",
        ),
        ("driver.limits.joints.elbow.velocity", -1.0, "driver.limits.joints.elbow.velocity: expected more than 0"),
        ("driver.limits.joints.elbow.jerk", None, "driver.limits.joints.elbow.jerk: expected a value, it is missing"),
        (
            "driver.limits.sped",
            1.0,
            r"driver.limits.sped: no such key \(did you mean driver.limits.speed",
        ),
        ("driver.limits.speed", float("nan"), "driver.limits.speed: expected a finite number, got nan"),
        (
            "driver.limits.workspace",
            {"low": [0, 0, 0], "high": [1, float("inf"), 1]},
            r"driver.limits.workspace.high\[1\]",
        ),
        (
            "driver.limits.workspace",
            {"low": [0, 0, 0], "high": [1, 40, 1]},
            "driver.limits.workspace: expected a box within",
        ),
        ("driver.limits.joints.waist.velocity", 500.0, "driver.limits.joints.waist.velocity: expected more than 0, at"),
        ("driver.limits.speed", 100.0, "driver.limits.speed: expected more than 0, at most 2 "),
        (
            "driver.limits.joint_state_timeout",
            1e5,
            "driver.limits.joint_state_timeout: expected more than 0, at most 1 ",
        ),
        ("driver.limits.commands_per_observation", 0, "driver.limits.commands_per_observation: expected 1 to 100"),
        ("driver.home", [float("inf")] * 6, r"driver.home\[0\]: expected a finite number"),
        ("driver.home", [0.0], "driver.home: expected a number for each of the arm's joints, got 1"),
        ("control_hz", 0.0, "control_hz: expected 0.1 to 1000"),
    ],
)
def test_a_bad_file_is_refused_by_its_name_and_key(path: str, value: object, message: str, tmp_path: Path) -> None:
    file = tmp_path / "arm.yaml"
    file.write_text(yaml.safe_dump(changed(path, value)))
    with pytest.raises(InputError, match=f"^robot {file}: {message}"):
        read_embodiment(file)


def test_a_file_of_ones_own_is_found_by_its_path_and_its_urdf_beside_it(tmp_path: Path) -> None:
    file = tmp_path / "arm.yaml"
    file.write_text(yaml.safe_dump(WIDOWX))
    assert find_embodiment(str(file)).driver.arm.urdf == str(tmp_path / "wx250s.urdf")
    assert find_embodiment(str(file)).name == "arm"


def test_the_arm_of_the_page_is_a_robots_file(tmp_path: Path) -> None:
    page = (config_directory().parent / "docs" / "how-to" / "add-a-robot.md").read_text()
    file = tmp_path / "my_arm.yaml"
    file.write_text(re.search(r'title="my_arm.yaml"\n(.*?)^```$', page, re.MULTILINE | re.DOTALL)[1])
    robot = read_embodiment(file)
    robot.driver.limits.check_stop(1.0 / robot.control_hz)
    assert robot.driver.needs().joints == (*robot.driver.arm.joints, "finger_joint")
