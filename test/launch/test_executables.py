"""One executable a node, for `ros2 run` and `ros2 launch`."""

import ast
import os
import subprocess
from pathlib import Path

from ament_index_python.packages import get_package_prefix

ROOT = Path(__file__).parents[2]
SCRIPTS = ROOT / "scripts"


def _nodes() -> set[str]:
    """Modules of stvla_ros/nodes with a main function."""

    def has_main(file: Path) -> bool:
        return any(isinstance(s, ast.FunctionDef) and s.name == "main" for s in ast.parse(file.read_text()).body)

    return {file.stem for file in (ROOT / "stvla_ros" / "nodes").glob("*.py") if has_main(file)}


def test_every_node_has_an_executable_and_every_executable_a_node() -> None:
    assert {file.name for file in SCRIPTS.iterdir()} == _nodes()
    for file in SCRIPTS.iterdir():
        assert f"from stvla_ros.nodes.{file.name} import main" in file.read_text()


def test_the_build_installs_the_executables_where_ros2_run_looks() -> None:
    installed = Path(get_package_prefix("stvla_ros")) / "lib" / "stvla_ros"
    assert all(os.access(installed / file.name, os.X_OK) for file in SCRIPTS.iterdir())


def test_an_installed_executable_runs_its_node() -> None:
    tracker = Path(get_package_prefix("stvla_ros")) / "lib" / "stvla_ros" / "tracker"
    command = [tracker, "--ros-args", "-p", "buffer:=1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert done.stderr.splitlines() == ["error: parameter buffer: expected a whole number from 2 to 1000, got 1"]
