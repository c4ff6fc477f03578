"""What is found out about a robot's file, its limits and its URDF."""

import copy
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from made_records import all_good, only

from stvla_ros.doctor.findings import Finding
from stvla_ros.doctor.robot_file import check_geometry, check_robot_file, find_robot_file
from stvla_ros.errors import InputError
from stvla_ros.robots.embodiments import find_embodiment
from stvla_ros.shared_files import config_directory

ROBOTS = config_directory() / "robots"


@pytest.fixture
def broken(tmp_path: Path) -> Callable[..., list[Finding]]:
    """The findings about a robot's file in which one thing is changed, by its dotted name; None removes it."""

    def examine(key: str = "", value: Any = None, robot: str = "widowx") -> list[Finding]:
        content = copy.deepcopy(yaml.safe_load((ROBOTS / f"{robot}.yaml").read_text()))
        *parents, last = key.split(".") if key else [""]
        place = content
        for parent in parents:
            place = place[parent]
        if value is not None:
            place[last] = value
        elif key:
            del place[last]
        shutil.copy(ROBOTS / "wx250s.urdf", tmp_path)
        shutil.copytree(ROBOTS / "wx250s", tmp_path / "wx250s", dirs_exist_ok=True)
        (tmp_path / "robot.yaml").write_text(yaml.safe_dump(content))
        return list(check_robot_file(tmp_path / "robot.yaml"))

    return examine


def test_the_robots_that_come_along_are_good() -> None:
    for name in ("widowx", "google_robot"):
        assert all_good(check_robot_file(find_robot_file(name)))
    found = list(check_robot_file(find_robot_file("panda")))
    assert "joint_position_driver" in only(found, "error", "only in simulation").advice


def test_a_file_is_found_by_name_or_path(tmp_path: Path) -> None:
    assert find_robot_file("widowx") == ROBOTS / "widowx.yaml"
    assert find_robot_file(str(tmp_path / "none.yaml")) == tmp_path / "none.yaml"
    with pytest.raises(
        InputError, match="robot: expected one of fr3, google_robot, panda, so101, .*, or a YAML file, got 'x'"
    ):
        find_robot_file("x")


def test_what_is_said_about_a_good_file(broken: Callable[..., list[Finding]]) -> None:
    texts = [f.text for f in broken()]
    assert texts[1] == "every joint stops within a control period: 0.150 s of 0.200 s"
    assert texts[2].startswith(
        "all limits are below their ceilings: joints' velocity 2.5 of 10, joint_margin 0.05 of 0.5"
    )
    assert "speed 0.35 of 2," in texts[2] and "joint_state_timeout 0.25 of 1" in texts[2]
    assert texts[-2] == "driver.home is within the limits, tool point (0.300, 0.000, 0.150) m"


LIMITS = "driver.limits"


@pytest.mark.parametrize(
    "key, value, text",
    [
        ("base_frame", None, "base_frame: expected a value, it is missing"),
        ("driver.executable", "other_driver", "executable: expected one of widowx_driver"),
        (f"{LIMITS}.joints.waist.lower", 4.0, "joints.waist: expected lower < upper"),
        (f"{LIMITS}.joints.waist.velocity", 3.0, "limits.joints.waist: expected limits that allow a stop within one"),
        (
            f"{LIMITS}.joints.waist.velocity",
            500.0,
            "waist.velocity: expected more than 0, at most 10 (the fastest joints",
        ),
        (f"{LIMITS}.speed", 100.0, "speed: expected more than 0, at most 2 (the speed that ISO 13855"),
        (f"{LIMITS}.workspace.high", [float("inf")] * 3, "workspace.high[0]: expected a finite number, got inf"),
        (f"{LIMITS}.tracking_time", 1e5, "tracking_time: expected more than 0, at most 2"),
        ("driver.tick_hz", 8.0, "tick_hz 8: at least two setpoints a control period"),
        ("driver.settings.group", None, "driver.settings.group: expected a value, it is missing"),
        ("driver.settings.gripper_pwm", 1000.0, "driver.settings.gripper_pwm: expected 0 to 885"),
        ("driver.arm.urdf", "none.urdf", "none.urdf: expected a URDF file, there is none"),
        ("driver.arm.tool_frame", "hand", ": expected a link hand, it has none of this name"),
        (f"{LIMITS}.joints.waist.lower", -4.0, "none wider than the URDF's, got joints.waist.lower -4 (URDF -3.14159"),
        (
            f"{LIMITS}.joints.waist.upper",
            3.5,
            "none wider than the URDF's, got joints.waist.upper 3.5 (URDF 3.14159)",
        ),
        (
            "driver.home",
            [0.0, 0.022, 1.8, 0.0, 1.3656, 0.0],
            "driver.home is beyond the limits less joint_margin 0.05: ",
        ),
        ("driver.rest", [0.0, -1.88, 1.5, 0.0, 0.8, 0.0], "driver.rest is beyond the limits less joint_margin 0.05: "),
        (
            f"{LIMITS}.forbidden",
            {"post": {"low": [0.1, -0.1, 0.0], "high": [0.3, 0.1, 0.1]}},
            "driver.rest: gripper_link would be in the forbidden box post",
        ),
        (f"{LIMITS}.table_height", 0.05, "driver.rest: the arm would be 0.010 m below the table"),
    ],
)
def test_errors_in_a_file(key: str, value: Any, text: str, broken: Callable[..., list[Finding]]) -> None:
    only((f for f in broken(key, value) if "tool point" not in f.text), "error", text)


def test_an_unreadable_file(tmp_path: Path) -> None:
    only(check_robot_file(tmp_path / "none.yaml"), "error", "none.yaml: expected a YAML file")


def test_another_packages_driver_that_cannot_be_imported(broken: Callable[..., list[Finding]], installed) -> None:
    with installed({}, {"drivers": {"my_driver": "no_such_module:DRIVER"}}):
        found = only(broken("driver.executable", "my_driver"), "error", "driver my_driver: entry point 'my_driver = no")
    assert "the package that the line names" in found.advice


def test_names_that_do_not_belong_together(broken: Callable[..., list[Finding]]) -> None:
    joints = find_embodiment("widowx").driver.arm.joints
    errors = [f.text for f in broken("driver.arm.joints", [*joints[:-1], "wrist"]) if f.level == "error"]
    assert errors[0].startswith(
        "limits.joints: expected limits of waist, shoulder, elbow, forearm_roll, wrist_angle, w"
    )
    assert ": expected a joint wrist, it has " in errors[1]
    only(broken("driver.limits.joints.yaw", {}, "google_robot")[:1], "error", "joints.yaw.")
    limit = {"lower": -1.0, "upper": 1.0, "velocity": 0.4, "acceleration": 3.0, "jerk": 60.0}
    only(
        broken("driver.limits.joints.yaw", limit, "google_robot"), "error", "limits.joints: expected limits of x, y, z"
    )
    only(
        broken("driver.settings.pose_topic", None, "google_robot"), "error", "driver.settings.pose_topic: expected a v"
    )


def test_a_home_outside_the_workspace(broken: Callable[..., list[Finding]]) -> None:
    workspace = {"low": [0.35, -0.25, 0.0], "high": [0.45, 0.25, 0.35]}
    only(broken("driver.limits.workspace", workspace), "warning", "driver.home: the tool point (0.300, 0.000, 0.150) m")


def test_poses_and_geometry_that_are_not_given(broken: Callable[..., list[Finding]]) -> None:
    only(broken("driver.rest"), "note", "no driver.rest: the service ~/rest is not offered")
    only(broken("driver.arm.urdf", "robot_description"), "note", "the URDF comes from the topic robot_description")


def test_the_urdf_as_text() -> None:
    driver = find_embodiment("widowx").driver
    assert all_good(
        check_geometry(
            driver, driver.arm, (ROBOTS / "wx250s.urdf").read_text().replace("wx250s/", f"file://{ROBOTS}/wx250s/")
        )
    )
    only(
        check_geometry(driver, driver.arm, "<robot"),
        "error",
        "urdf robot_description: expected a URDF",
    )
