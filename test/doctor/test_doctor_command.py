"""The command around the checks: they are independent, and what they find is told."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from made_records import all_good, make_heard, make_states, only

from stvla_ros.cli import main
from stvla_ros.doctor import command
from stvla_ros.doctor.findings import Finding, Section, error, examine, note, ok, warning
from stvla_ros.doctor.records import Heard, Wanted
from stvla_ros.doctor.report import report_content, section_text, summary_text
from stvla_ros.doctor.ros import RosFacts
from stvla_ros.errors import InputError
from stvla_ros.robots.embodiments import find_embodiment
from stvla_ros.shared_files import config_directory

# What needs neither ROS 2 nor torch.
QUICK = ("doctor", "--only", "robot")


def run(*arguments: str) -> int:
    """:returns: the exit code of `stvla` in this process."""
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    return ended.value.code


def test_a_check_that_crashes_keeps_what_it_found_and_is_an_error() -> None:
    def crash() -> Iterator[Finding]:
        yield ok("first")
        raise ZeroDivisionError("a\nb")

    def refuse() -> Iterator[Finding]:
        raise InputError("topic x: expected y")
        yield

    first, second = examine("gpu", "GPU", crash).findings
    assert first == ok("first")
    assert second.level == "error"
    assert second.text.startswith("this check crashed: ZeroDivisionError: a b (test_doctor_command.py:")
    assert "stvla doctor --only gpu" in second.advice
    (refused,) = examine("gpu", "GPU", refuse).findings
    assert (refused.level, refused.text) == ("error", "topic x: expected y") and refused.advice


def test_no_warning_or_error_without_advice() -> None:
    for level in ("warning", "error"):
        with pytest.raises(ValueError, match="expected advice"):
            Finding(level, "bad")


SECTIONS = (
    Section("ros", "ROS 2", (ok("good"), note("so"))),
    Section("dds", "Fast DDS", (warning("w " * 20, "do " * 30), error("e", "now"))),
)


def test_the_table() -> None:
    assert section_text(SECTIONS[0], 60) == "ROS 2\n  ok       good\n  note     so"
    assert section_text(SECTIONS[1], 60).splitlines() == [
        "Fast DDS",
        "  warning  " + " ".join("w" * 20),
        "           -> " + " ".join(["do"] * 15),
        "              " + " ".join(["do"] * 15),
        "  error    e",
        "           -> now",
    ]
    long = "/a/path/" + "x" * 80
    assert long in section_text(Section("dds", "Fast DDS", (note(f"see {long}"),)), 60)


def test_the_summary_and_the_json() -> None:
    assert summary_text(SECTIONS) == (
        "1 ok, 1 note, 1 warning, 1 error. Do not drive the robot before the errors are gone (dds)."
    )
    assert summary_text(SECTIONS[:1]) == "1 ok, 1 note, 0 warnings, 0 errors. No errors in what was checked."
    content = report_content(SECTIONS)
    assert content["passed"] is False and content["counts"] == {"ok": 1, "note": 1, "warning": 1, "error": 1}
    assert content["findings"][3] == {"area": "dds", "level": "error", "found": "e", "advice": "now"}
    assert report_content(SECTIONS[:1])["passed"] is True


def test_exit_codes_and_the_json_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "found.json"
    assert run(*QUICK, "--json", str(file)) == 0
    assert json.loads(file.read_text())["passed"] is True
    assert capsys.readouterr().out.startswith("robot's file\n  ok       ")
    assert run(*QUICK, "--robot", str(tmp_path / "none.yaml"), "--json", str(file)) == 1
    assert json.loads(file.read_text())["counts"] == {"ok": 0, "note": 0, "warning": 0, "error": 1}


@pytest.mark.parametrize(
    "options, message",
    [
        (
            ("--robot", "nobody"),
            "error: robot: expected one of fr3, google_robot, panda, so101, ur5e_robotiq, widowx, xarm6, xarm7",
        ),
        (("--seconds", "0.1"), "error: seconds: expected 0.5 to 600, got 0.1"),
        (("--seconds", "nan"), "error: seconds: expected 0.5 to 600, got nan"),
        (("--json", "/none/found.json"), "error: json: expected a file in a folder that exists, got /none/found.json"),
        (("--image-topic", ""), "error: image_topic: expected a topic's name, got ''"),
        (("--depth-topic", "a b"), "error: depth_topic: expected a topic's name, got 'a b'"),
        (
            ("--depth-topic", "/camera/camera/color/image_raw"),
            "camera_info_topic, depth_topic: expected different topics, got",
        ),
        (("--json", "/tmp"), "error: json: expected a file in a folder that exists, got /tmp"),
        (("--only", "nothing"), "invalid choice 'nothing'"),
    ],
)
def test_bad_arguments(options: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("doctor", *options) == 2
    told = capsys.readouterr()
    assert message in told.err and not told.out


def test_a_json_file_that_cannot_be_written_is_refused_after_the_findings(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(*QUICK, "--json", "/proc/found.json") == 2
    told = capsys.readouterr()
    assert "json: expected a file that can be written" in told.err and "No errors" in told.out


def test_all_areas_are_examined_unless_they_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(command, "examine", lambda area, title, check: asked.append(area) or Section(area, title, ()))

    def areas(**options: object) -> list[str]:
        asked.clear()
        arguments = command.DoctorArguments(**options)
        list(command.Doctor(arguments, Path("none.yaml"), {}).examine())
        return list(asked)

    everything = ["ros", "dds", "gpu", "plugins", "robot", "checkpoint", "camera", "intrinsics", "state", "clocks"]
    assert areas() == everything
    assert areas(live=False) == everything[:6]
    assert areas(only=("state", "ros")) == ["ros", "state"]


def prepared(robot_file: Path, heard: Heard | Exception, *only: command.Area) -> command.Doctor:
    """As if it had listened, and heard this."""
    made = command.Doctor(command.DoctorArguments(only=only), robot_file, {})
    made.__dict__ |= {"_ros": RosFacts("rclpy/__init__.py"), "_outcome": heard}
    return made


def changed_robot(folder: Path, key: str, value: object) -> Path:
    """The WidowX' file with one thing about its driver changed."""
    content = yaml.safe_load((config_directory() / "robots" / "widowx.yaml").read_text())
    *parents, last = key.split(".")
    place = content["driver"]
    for parent in parents:
        place = place[parent]
    place[last] = value
    (folder / "robot.yaml").write_text(yaml.safe_dump(content))
    return folder / "robot.yaml"


def test_a_camera_is_checked_without_a_robots_file(tmp_path: Path) -> None:
    camera, state = prepared(tmp_path / "none.yaml", make_heard(), "camera", "state").examine()
    assert all_good(camera.findings)
    only(state.findings, "note", "none.yaml cannot be read")
    (state,) = prepared(config_directory() / "robots" / "panda.yaml", make_heard(), "state").examine()
    only(state.findings, "note", "panda.yaml describes a robot without a driver")


def test_settings_and_a_description_that_are_missing(tmp_path: Path) -> None:
    file = changed_robot(tmp_path, "settings.namespace", "")
    (state,) = prepared(file, make_heard(), "state").examine()
    only(state.findings, "error", "driver.settings do not name the topic")
    file = changed_robot(tmp_path, "arm.urdf", "robot_description")
    driver = find_embodiment("widowx").driver
    needs = driver.needs()
    states = make_states(needs.joints, (*driver.rest, 0.02))
    services = {f"/{name}": kind for name, kind in needs.services.items()}
    (state,) = prepared(file, make_heard(joint_states=states, services=services), "state").examine()
    found = only(state.findings, "error", "nothing came on /wx250s/robot_description")
    assert "robot_state_publisher" in found.advice


def test_a_robots_namespace_is_told_to_the_listener(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = []
    monkeypatch.setattr("stvla_ros.doctor.listener.listen", lambda topics: wanted.append(topics) or make_heard())
    command.main(command.DoctorArguments(only=("camera",), namespace="left"))
    assert [each.namespace for each in wanted] == ["/left"]
    with pytest.raises(InputError, match="^namespace: expected one like left or /cell/left, got 'the left'"):
        command.main(command.DoctorArguments(namespace="the left"))


def test_listening_that_fails_is_tried_once_and_told_by_each_check(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = []

    def listen(topics: Wanted) -> Heard:
        wanted.append(topics)
        raise RuntimeError("no network")

    monkeypatch.setattr("stvla_ros.doctor.listener.listen", listen)
    arguments = command.DoctorArguments(only=command.LIVE, depth_topic="", use_sim_time=True)
    doctor = command.Doctor(arguments, config_directory() / "robots" / "widowx.yaml", {})
    for section in doctor.examine():
        only(section.findings, "error", "this check crashed: RuntimeError: no network")
    (asked,) = wanted
    assert asked.joint_states_topic == "wx250s/joint_states" and asked.joints[-1] == "left_finger"
    assert (asked.depth_topic, asked.use_sim_time, asked.seconds) == ("", True, 5.0)


def test_without_ros_the_other_checks_still_run(tmp_path: Path) -> None:
    (tmp_path / "rclpy.py").write_text("raise ImportError('librcl.so: no such file')")
    file = tmp_path / "found.json"
    done = subprocess.run(
        [sys.executable, "-m", "stvla_ros.cli", "doctor", "--json", str(file)]
        + "--only ros dds robot camera intrinsics state".split(),
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 1, done.stderr
    levels: dict[str, list[str]] = {}
    for finding in json.loads(file.read_text())["findings"]:
        levels.setdefault(finding["area"], []).append(finding["level"])
    assert "librcl.so: no such file" in done.stdout and levels["ros"] == ["error"]
    assert levels["dds"][0] == "ok" and set(levels["robot"]) == {"ok"}
    assert levels["camera"] == levels["intrinsics"] == levels["state"] == ["error"]
    assert done.stdout.count("not checked: without ROS 2") == 3
