"""The template of a robot's file has every key, and says what holds where one is left out."""

import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from stvla_ros.control.safety.limits import JointLimits, SafetyLimits
from stvla_ros.robots.embodiments import ArmDescription, DriverDescription, Embodiment, embodiments, read_embodiment
from stvla_ros.settings import build
from stvla_ros.shared_files import config_directory

TEMPLATE = config_directory() / "robot_template.yaml"
KINDS = (Embodiment, DriverDescription, ArmDescription, SafetyLimits, JointLimits)
# The name is the file's; the settings are the driver's own, and so not all the same.
NOT_WRITTEN = {"name"}


def fields() -> Iterator[dataclasses.Field]:
    return (field for kind in KINDS for field in dataclasses.fields(kind) if field.name not in NOT_WRITTEN)


def left_out() -> dict[str, Any]:
    """What the template says of the keys that it leaves out."""
    lines = re.findall(r"^ +# (\w+: .*)$", TEMPLATE.read_text(), re.MULTILINE)
    return {name: value for line in lines for name, value in yaml.safe_load(line).items()}


def test_what_may_be_left_out_is_shown_with_the_value_that_then_holds() -> None:
    optional = {field.name: field for field in fields() if field.default is not dataclasses.MISSING}
    optional |= {field.name: field for field in fields() if field.default_factory is not dataclasses.MISSING}
    told = left_out()
    assert told.keys() == optional.keys() - {"driver", "arm", "settings"}, "these are there"
    for name, value in told.items():
        field = optional[name]
        default = field.default if field.default is not dataclasses.MISSING else field.default_factory()
        assert value == default or (value, default) == ([], ()), name


def test_all_that_must_be_there_is_there(tmp_path: Path) -> None:
    robot = read_embodiment(TEMPLATE)
    assert robot.driver.arm.urdf == str(TEMPLATE.parent / "my_robot.urdf")
    robot.driver.limits.check_stop(1.0 / robot.control_hz)
    robot.driver.limits.check_joints(robot.driver.arm.joints)
    build(robot.driver.kind.settings, dict(robot.driver.settings), "driver.settings.")
    assert "robot_template" not in embodiments(), "it is no robot"


def test_filled_in_it_is_the_same_robot(tmp_path: Path) -> None:
    """With all that it leaves out said as well."""
    file = tmp_path / TEMPLATE.name
    text = re.sub(r"^( +)# (?!effort)(\w+: .*)$", r"\1\2", TEMPLATE.read_text(), flags=re.MULTILINE)
    file.write_text(text.replace("my_robot.urdf", str(TEMPLATE.parent / "my_robot.urdf")))
    assert read_embodiment(file) == read_embodiment(TEMPLATE)
