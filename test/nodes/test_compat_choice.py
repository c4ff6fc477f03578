"""Which module stands behind the names of stvla_ros.nodes.kit.compat."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

REPORT = """
from stvla_ros.nodes.kit.compat import cv_bridge, message_filters, tf_transformations
print(cv_bridge.__name__, message_filters.__name__, tf_transformations.__name__)
"""


def install(folder: Path, package: str, files: dict[str, bytes]) -> None:
    """Put a package where Python finds it, as a ROS distribution's setup file does."""
    for name, content in {"__init__.py": b"", **files}.items():
        path = folder / package / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def chosen(folder: Path) -> list[str]:
    path = os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, "-c", REPORT],
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    ).stdout.split()


def test_installed_packages_are_used(tmp_path: Path) -> None:
    install(tmp_path, "message_filters", {})
    install(tmp_path, "tf_transformations", {})
    assert chosen(tmp_path)[1:] == ["message_filters", "tf_transformations"]


@pytest.mark.parametrize(
    ("compiled", "expected"),
    [
        (b"..numpy._core._multiarray_umath..numpy.core._multiarray_umath..", "cv_bridge"),
        (b"..numpy.core._multiarray_umath..", "stvla_ros.nodes.kit.compat._cv_bridge"),
    ],
    ids=["built for NumPy 2", "built for NumPy 1"],
)
def test_a_cv_bridge_that_would_crash_with_this_numpy_is_not_used(
    tmp_path: Path, compiled: bytes, expected: str
) -> None:
    if int(np.__version__.split(".")[0]) < 2:
        pytest.skip("NumPy 1 loads both")
    install(tmp_path, "cv_bridge", {"boost/cv_bridge_boost.so": compiled})
    assert chosen(tmp_path)[0] == expected


def test_choosing_message_filters_loads_no_opencv() -> None:
    code = "import sys; from stvla_ros.nodes.kit.compat import message_filters; print('cv2' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=300)
    assert result.stdout.strip() == "False"
