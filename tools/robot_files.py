"""Files of robots that differ from one that comes along, for what is asked, tested and measured without a robot."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from stvla_ros.shared_files import config_directory


def write_robot(
    file: Path,
    robot: str = "widowx",
    urdf: str = "",
    limits: Mapping[str, Any] = {},
    control_hz: float | None = None,
    **driver: Any,
) -> Path:
    """
    :param robot: the robot that comes along.
    :param urdf: URDF file, in place of the robot's own.
    :param limits: safety limits, each in place of the robot's own.
    :param control_hz: control steps a second, in place of the robot's own.
    :param driver: other keys of ``driver:``, each in place of the robot's own.
    :returns: the file.
    """
    folder = config_directory() / "robots"
    content = yaml.safe_load((folder / f"{robot}.yaml").read_text())
    changed = content["driver"]
    changed |= driver
    changed["limits"] |= limits
    if control_hz is not None:
        content["control_hz"] = control_hz
    if "arm" in changed:
        # A path counts from the robot's file, which lies elsewhere now.
        changed["arm"]["urdf"] = urdf or str(folder / changed["arm"]["urdf"])
    file.write_text(yaml.safe_dump(content))
    return file
