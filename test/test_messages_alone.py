"""The messages alone: built in an environment that has nothing but ROS 2 and what it needs to build."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
# All that tells other programs where things are is left behind; what the machine needs to reach pip's index is kept.
_LEFT_BEHIND = ("AMENT", "CMAKE", "COLCON", "FAST", "LD_", "PYTHON", "RMW", "ROS", "VIRTUAL_ENV", "_ROS_WHEELS")
_READER = """
#include <cstdio>
#include <stvla_ros/action/execute_instruction.hpp>
#include <stvla_ros/msg/trace_array.hpp>
#include <stvla_ros/srv/ask.hpp>

int main() {
  stvla_ros::msg::TraceArray traces;
  traces.header.frame_id = "camera";
  stvla_ros::action::ExecuteInstruction::Goal goal;
  goal.instruction = "pick";
  const char * type = rosidl_generator_traits::name<stvla_ros::msg::TraceArray>();
  std::printf("%s %s %s\\n", type, traces.header.frame_id.c_str(), goal.instruction.c_str());
}
"""
_READER_BUILD = """
cmake_minimum_required(VERSION 3.16)
project(reader)
find_package(stvla_ros REQUIRED)
add_executable(reader reader.cpp)
target_link_libraries(reader ${stvla_ros_TARGETS})
"""


def _bare_environment(folder: Path) -> dict[str, str]:
    """A virtual environment with the wheels of ROS 2 alone; the shell's variables that lead to it."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_LEFT_BEHIND)}
    bare = folder / "venv"
    _run([Path(sys.base_prefix, "bin/python3"), "-m", "venv", bare], kept)
    requirements = REPOSITORY / "requirements"
    install = ["-m", "pip", "install", "-q", "-c", requirements / "constraints.txt", "-r", requirements / "ros.txt"]
    # rosidl's generator for Python compiles against its headers, as python3-numpy's in a distribution.
    _run([bare / "bin/python", *install, "numpy"], kept)
    _run([bare / "bin/python", REPOSITORY / "tools/fix_ros_wheels.py"], kept)
    path = f"{bare / 'bin'}:{kept['PATH']}"
    return kept | {"PATH": path, "AMENT_PREFIX_PATH": str(bare), "CMAKE_PREFIX_PATH": str(bare)}


def _run(words: list, environment: Mapping[str, str], folder: Path | None = None) -> str:
    ran = subprocess.run([str(word) for word in words], env=environment, cwd=folder, capture_output=True, text=True)
    assert ran.returncode == 0, f"{words}\n{ran.stdout}\n{ran.stderr}"
    return ran.stdout


@pytest.mark.slow
def test_messages_build_and_serve_cpp_and_python_where_nothing_else_of_the_package_can_run(tmp_path: Path) -> None:
    environment = _bare_environment(tmp_path)
    for absent in ("cv2", "scipy", "pinocchio", "rosbags", "tyro"):
        missing = subprocess.run([tmp_path / "venv/bin/python", "-c", f"import {absent}"], env=environment)
        assert missing.returncode, f"{absent} is there: the environment is not bare"
    workspace = tmp_path / "workspace"
    (workspace / "src").mkdir(parents=True)
    (workspace / "src/stvla_ros").symlink_to(REPOSITORY)
    build = ["colcon", "build", "--cmake-args", "-DSTVLA_MESSAGES_ONLY=ON", "--packages-select", "stvla_ros"]
    _run(build, environment | {"MAKEFLAGS": "-j2"}, workspace)
    installed = workspace / "install/stvla_ros"
    assert (installed / "share/stvla_ros/msg/TraceArray.msg").is_file()
    assert not (installed / "lib/stvla_ros").exists() and not (installed / "share/stvla_ros/launch").exists()

    sourced = ["bash", "-c", '. install/local_setup.bash && exec "$@"', "bash"]
    heard = _run([*sourced, "python", "-c", _PYTHON_USER], environment, workspace)
    assert "stvla_ros/msg/TraceArray" in heard

    reader = workspace / "reader"
    reader.mkdir()
    (reader / "reader.cpp").write_text(_READER)
    (reader / "CMakeLists.txt").write_text(_READER_BUILD)
    _run([*sourced, "cmake", "-S", reader, "-B", reader / "build"], environment, workspace)
    _run([*sourced, "cmake", "--build", reader / "build"], environment, workspace)
    assert _run([*sourced, reader / "build/reader"], environment, workspace) == "stvla_ros/msg/TraceArray camera pick\n"


_PYTHON_USER = """
from rclpy.type_support import check_for_type_support
from stvla_ros.action import ExecuteInstruction
from stvla_ros.msg import TraceArray
from stvla_ros.srv import Ask

check_for_type_support(TraceArray)
print(TraceArray.__module__, "stvla_ros/msg/TraceArray")
"""
