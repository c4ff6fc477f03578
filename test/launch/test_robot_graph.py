"""The description of a robot's graph: its driver, its camera, and a recording in their place."""

import sys
from pathlib import Path

import pytest
import yaml
from graph_parts import names_of, node_of, parameters_of, take_for_a_recording

from stvla_ros.errors import InputError
from stvla_ros.graph.arguments import RobotArguments
from stvla_ros.graph.assemble import robot_graph
from stvla_ros.graph.supervisor import node_command
from stvla_ros.shared_files import config_directory


def test_a_live_robot_runs_until_it_is_stopped(tmp_path: Path) -> None:
    graph = robot_graph(RobotArguments(), tmp_path)
    assert names_of(graph) == ["tracker", "depth", "compositor", "vla_server", "widowx_driver", "robot_session"]
    assert not any(node.ends_graph for node in graph.nodes)
    assert {p["ros__parameters"]["use_sim_time"] for p in parameters_of(graph).values()} == {False}


def test_a_recording_moves_fake_hardware_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    film = take_for_a_recording(monkeypatch)
    assert "widowx_driver" not in names_of(robot_graph(RobotArguments(replay=film), tmp_path))
    fake = robot_graph(RobotArguments(replay=film, use_fake_hardware=True, instruction="go"), tmp_path)
    assert {"widowx_driver", "fake_xs_arm", "robot_session"} <= set(names_of(fake))
    assert node_of(fake, "widowx_driver").parameters["widowx_driver"]["late_ticks"] == 0


def test_the_video_of_a_recording_shows_a_stand_ins_arm_and_no_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    film = take_for_a_recording(monkeypatch)
    shown = [
        node_of(robot_graph(arguments, tmp_path), "episode_recorder").parameters["episode_recorder"]["show_arm"]
        for arguments in (RobotArguments(replay=film, use_fake_hardware=True), RobotArguments(replay=film))
    ]
    assert shown == ["widowx", ""]


def test_each_robot_has_its_own_driver(tmp_path: Path) -> None:
    graph = robot_graph(RobotArguments(robot="google_robot", dry_run=True, deadman="joy"), tmp_path)
    driver = node_of(graph, "google_robot_driver").parameters["google_robot_driver"]
    assert (driver["robot"], driver["dry_run"], driver["deadman"]) == ("google_robot", True, "joy")
    assert "late_ticks" not in driver
    server = node_of(graph, "vla_server").parameters["vla_server"]
    assert server["frozen_picture_timeout"] > 0 and server["commands_per_observation"] == 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"robot": "panda"}, "^robot: panda has no driver"),
        ({"robot": "google_robot", "use_fake_hardware": True}, "^use_fake_hardware: expected a robot with a stand-in"),
    ],
)
def test_a_robot_that_cannot_be_driven_so_is_refused(arguments: dict, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        robot_graph(RobotArguments(**arguments), tmp_path)


def test_a_recording_takes_the_cameras_place_and_gives_the_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    film = take_for_a_recording(monkeypatch)
    graph = robot_graph(RobotArguments(replay=film), tmp_path)
    assert node_of(graph, "replay").ends_graph
    times = {name: p["ros__parameters"]["use_sim_time"] for name, p in parameters_of(graph).items()}
    assert times.pop("/**/replay") is False
    assert set(times.values()) == {True}


def test_a_recording_without_depth_is_shown_with_traces_on_the_picture_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    film = take_for_a_recording(monkeypatch, has_depth=False)
    graph = robot_graph(RobotArguments(replay=film), tmp_path)
    assert node_of(graph, "depth").parameters["depth"]["depth"] == "constant"
    assert node_of(graph, "vla_server").parameters["vla_server"]["traces"] == "rgb"
    assert any(note.startswith("film.mp4 has no depth: traces are drawn on the picture") for note in graph.notes)
    with pytest.raises(InputError, match="^depth: expected another than sensor, film.mp4 has no depth"):
        robot_graph(RobotArguments(replay=film, depth="sensor"), tmp_path)


@pytest.mark.parametrize(
    ("arguments", "pacing", "reliability"),
    [
        ({}, "lockstep", "reliable"),
        ({"replay_pacing": "realtime"}, "realtime", None),
        ({"use_fake_hardware": True}, "realtime", None),
    ],
)
def test_a_recording_that_moves_nothing_is_played_frame_by_frame(
    arguments: dict, pacing: str, reliability: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = robot_graph(RobotArguments(replay=take_for_a_recording(monkeypatch), **arguments), tmp_path)
    assert node_of(graph, "replay").parameters["replay"]["pacing"] == pacing
    for name in ("tracker", "depth", "compositor", "vla_server"):
        assert node_of(graph, name).parameters[name].get("sensor_reliability") == reliability


def test_no_arm_moves_on_a_recording_that_waits_for_the_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    film = take_for_a_recording(monkeypatch)
    with pytest.raises(InputError, match="^replay_pacing: expected realtime with fake hardware"):
        robot_graph(RobotArguments(replay=film, use_fake_hardware=True, replay_pacing="lockstep"), tmp_path)


def test_the_video_of_a_recording_plays_as_fast_as_the_recording(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = robot_graph(RobotArguments(replay=take_for_a_recording(monkeypatch)), tmp_path)
    assert node_of(graph, "episode_recorder").parameters["episode_recorder"]["fps"] == 20.0


def test_the_cameras_topics_reach_every_node_that_looks_at_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    film = take_for_a_recording(monkeypatch)
    graph = robot_graph(RobotArguments(image_topic="cam/image", replay=film, rviz=True), tmp_path)
    assert {node.remappings["image"] for node in graph.nodes} == {"cam/image"}  # without a driver: nothing else


@pytest.mark.parametrize(("robot", "frame"), [("widowx", "wx250s/base_link"), ("google_robot", "link_base")])
def test_rviz_looks_from_the_robots_base(robot: str, frame: str, tmp_path: Path) -> None:
    command = node_of(robot_graph(RobotArguments(robot=robot, rviz=True), tmp_path), "rviz2").command
    assert command[command.index("-f") + 1] == frame
    assert Path(command[command.index("-d") + 1]).is_file()


# --- drivers of other packages ---

ADDED_DRIVER = """
from dataclasses import dataclass

from stvla_ros.robots.drivers import DriverKind, DriverNeeds

@dataclass(frozen=True)
class Settings:
    port: str

DRIVER = DriverKind(Settings, lambda settings, joints: DriverNeeds(), "my_arm.node", stand_in="my_arm.pretend_arm")
"""


def _robot_of(executable: str, folder: Path) -> RobotArguments:
    file = folder / "my_arm.yaml"
    content = yaml.safe_load((config_directory() / "robots" / "google_robot.yaml").read_text())
    content["driver"] |= {"executable": executable, "settings": {"port": "/dev/ttyUSB0"}}
    file.write_text(yaml.safe_dump(content))
    return RobotArguments(robot=str(file), policy="random", use_fake_hardware=True, output=str(folder / "out"))


def test_a_driver_of_another_package_and_its_stand_in_are_run_by_their_modules(tmp_path: Path, installed) -> None:
    with installed({"added_driver": ADDED_DRIVER}, {"drivers": {"my_driver": "added_driver:DRIVER"}}):
        graph = robot_graph(_robot_of("my_driver", tmp_path), tmp_path / "run")
    for name, module in (("my_driver", "my_arm.node"), ("pretend_arm", "my_arm.pretend_arm")):
        spec = node_of(graph, name)
        assert spec.module == module and list(spec.parameters) == [name]
        assert node_command(spec, graph)[:3] == [sys.executable, "-m", module]


def test_a_driver_that_cannot_be_imported_is_told_before_anything_starts(tmp_path: Path, installed) -> None:
    with installed({}, {"drivers": {"my_driver": "added_driver:DRIVER"}}):
        with pytest.raises(InputError, match="^driver my_driver: entry point .* of added 1.0 cannot be imported"):
            robot_graph(_robot_of("my_driver", tmp_path), tmp_path / "run")


def test_a_driver_cannot_have_the_name_of_another_node(tmp_path: Path, installed) -> None:
    with installed({"added_driver": ADDED_DRIVER}, {"drivers": {"compositor": "added_driver:DRIVER"}}):
        with pytest.raises(InputError, match="^driver compositor: expected another name"):
            robot_graph(_robot_of("compositor", tmp_path), tmp_path / "run")


def test_the_mode_of_the_robot_is_its_drivers(tmp_path: Path) -> None:
    for given in ({}, {"mode": "full"}):
        graph = robot_graph(RobotArguments(robot="google_robot", **given), tmp_path)
        driver = node_of(graph, "google_robot_driver").parameters["google_robot_driver"]
        assert driver["mode"] == given.get("mode", "reduced")
