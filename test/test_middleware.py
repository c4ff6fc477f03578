"""A middleware that is not there: one line before rclpy ends the process."""

import os
import subprocess
import sys

import pytest

from stvla_ros.middleware import VARIABLE, middleware_problem

ABSENT = {**os.environ, VARIABLE: "rmw_of_another_day_cpp"}


@pytest.mark.parametrize("named", ["", "rmw_fastrtps_cpp"])
def test_the_usual_one_is_not_asked_about(named: str) -> None:
    assert middleware_problem({VARIABLE: named}) == ""


def test_one_that_is_not_there_is_named_with_what_to_do() -> None:
    problem = middleware_problem(ABSENT)
    assert problem.startswith("RMW_IMPLEMENTATION is rmw_of_another_day_cpp, and this ROS 2 ")
    assert "`unset RMW_IMPLEMENTATION`" in problem and "ros-$ROS_DISTRO-rmw-of-another-day-cpp" in problem


@pytest.mark.parametrize(
    "words",
    [["doctor", "--no-live", "--only", "ros"], ["sim"], ["robot"], ["stop"], ["do", "x"]],
)
def test_every_command_that_needs_ros_says_so_in_one_line(words: list[str], tmp_path) -> None:
    if words[0] in ("sim", "robot"):
        words = [*words, "--output", str(tmp_path)]
    ran = subprocess.run(
        [sys.executable, "-m", "stvla_ros.cli", *words], capture_output=True, text=True, env=ABSENT, timeout=120
    )
    said = [line for line in (ran.stdout + ran.stderr).splitlines() if "rmw_of_another_day_cpp, and this ROS 2" in line]
    assert len(said) == 1 and ran.returncode in (1, 2), ran.stdout + ran.stderr
    assert "Expected RMW implementation identifier" not in ran.stderr
