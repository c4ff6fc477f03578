"""One executable a node, for `ros2 run` and `ros2 launch`."""

import ast
import os
import subprocess
from pathlib import Path

import pytest
from ament_index_python.packages import get_package_prefix

from stvla_ros.errors import InputError
from stvla_ros.nodes.executables import executables, module_of

NODES = Path(__file__).parents[2] / "stvla_ros" / "nodes"


def _modules_with_main() -> set[str]:
    """Modules of stvla_ros/nodes with a main function."""

    def has_main(file: Path) -> bool:
        return any(isinstance(s, ast.FunctionDef) and s.name == "main" for s in ast.parse(file.read_text()).body)

    files = (file.relative_to(NODES.parents[1]) for file in NODES.rglob("*.py") if has_main(file))
    return {".".join(file.with_suffix("").parts) for file in files}


def test_every_node_has_an_executable_and_every_executable_a_node() -> None:
    assert {module_of(name) for name in executables()} == _modules_with_main()


def test_another_name_is_refused_with_the_names_that_exist() -> None:
    with pytest.raises(InputError, match="executable: expected one of tracker, .*, got 'camera'"):
        module_of("camera")


def test_the_build_installs_the_executables_where_ros2_run_looks() -> None:
    installed = Path(get_package_prefix("stvla_ros")) / "lib" / "stvla_ros"
    assert all(os.access(installed / name, os.X_OK) for name in executables())


def test_an_installed_executable_runs_its_node() -> None:
    tracker = Path(get_package_prefix("stvla_ros")) / "lib" / "stvla_ros" / "tracker"
    command = [tracker, "--ros-args", "-p", "buffer:=1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 2
    assert done.stderr.splitlines() == ["error: parameter buffer: expected a whole number from 2 to 1000, got 1"]
