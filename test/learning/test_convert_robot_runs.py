"""`stvla convert` on recordings of robots: topics of any name, goals as episodes, commands when they were ready."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_bags import SECOND, START, GraphBag, command_of, depth_of, record_episode, rgb_of
from test_convert import EVEN, convert, rpy_of

from stvla_ros.errors import InputError

CAMERA = {
    "image": "/zed/rgb/image",
    "camera_info": "/zed/rgb/info",
    "sensor_depth": "/zed/depth/registered",
}
ARM = {"command": "/left/command", "action_chunk": "/left/action_chunk"}


def robot_run(folder: Path, stamps: list[int] = EVEN, **options: Any) -> None:
    with GraphBag(folder, **options) as bag:
        for stamp in stamps:
            bag.observation(stamp)
            bag.command(stamp)


@pytest.mark.parametrize("names", [{}, CAMERA, ARM, CAMERA | ARM], ids=["ours", "camera", "arm", "both"])
def test_topics_of_any_name_are_found_by_their_types(tmp_path: Path, names: dict[str, str]) -> None:
    robot_run(tmp_path / "bag", names=names)
    demonstration = convert(tmp_path, instruction="open the drawer").episode(0)
    assert len(demonstration) == len(EVEN) and demonstration.intrinsics is not None
    np.testing.assert_array_equal(demonstration.rgb[3], rgb_of(EVEN[3]))
    np.testing.assert_array_equal(demonstration.depth[3], depth_of(EVEN[3]))


def second_camera(folder: Path, run: dict[str, str] | None) -> None:
    """A bag with two cameras of one frame and two robots' commands."""
    right = {name: f"/right/{name}" for name in (*CAMERA, "command")}
    with (
        GraphBag(folder, names=CAMERA | ARM, run=run) as bag,
        GraphBag(folder.with_name("other"), names=right) as other,
    ):
        other._bag.close()
        other._bag = bag._bag
        for stamp in EVEN:
            bag.observation(stamp)
            bag.command(stamp)
            other.observation(stamp + 1)
            other.command(stamp + 1)


def test_of_several_topics_the_ones_that_the_recorder_wrote_down_are_taken(tmp_path: Path) -> None:
    roles = {**CAMERA, "command": "/left/command", "episode_state": "/left/episode_state"}
    second_camera(tmp_path / "bag", {**roles, "instruction": "open the drawer"})
    reader = convert(tmp_path)
    assert reader.instructions() == ["open the drawer"]
    np.testing.assert_array_equal(reader.episode(0).rgb[3], rgb_of(EVEN[3]))
    np.testing.assert_array_equal(reader.episode(0).action[3], rpy_of(EVEN[3]))


def test_several_that_could_be_meant_are_listed_until_they_are_named(tmp_path: Path) -> None:
    second_camera(tmp_path / "bag", None)
    given = {"instruction": "go"}
    for message, named in (
        ("an image topic to be named, it has several: /right/image, /zed/rgb/image", {"image": CAMERA["image"]}),
        ("topic of camera_info to be named, .*: /right/camera_info, /zed", {"camera_info": CAMERA["camera_info"]}),
        ("topic of depth to be named, .*: /right/sensor_depth, /zed", {"depth": CAMERA["sensor_depth"]}),
        ("topic of command to be named, .*: /left/command, /right/command", {"command": "/left/command"}),
    ):
        with pytest.raises(InputError, match=message):
            convert(tmp_path, **given)
        given |= named
    np.testing.assert_array_equal(convert(tmp_path, **given).episode(0).action[3], rpy_of(EVEN[3]))


def test_depth_and_calibration_can_be_left_out(tmp_path: Path) -> None:
    robot_run(tmp_path / "bag")
    demonstration = convert(tmp_path, instruction="go", depth="none", camera_info="none").episode(0)
    assert (demonstration.depth, demonstration.intrinsics) == (None, None)


def test_episodes_can_be_left_out_for_the_goals_that_the_commands_name(tmp_path: Path) -> None:
    with GraphBag(tmp_path / "bag") as bag:
        record_episode(bag, EVEN)
    reader = convert(tmp_path, episode_state="none", instruction="go")
    assert (len(reader), reader.instructions()) == (1, ["go"])


def test_each_goal_is_an_episode_with_the_pause_between_them_left_out(tmp_path: Path) -> None:
    later = [stamp + 20 * SECOND for stamp in EVEN]
    with GraphBag(tmp_path / "bag") as bag:
        for goal, stamps in enumerate((EVEN, later), start=1):
            for stamp in stamps:
                bag.observation(stamp)
                bag.command(stamp, goal=goal)
            bag.observation(stamps[-1] + SECOND)
    reader = convert(tmp_path, instruction="go")
    assert reader.episode_lengths().tolist() == [len(EVEN)] * 2
    np.testing.assert_array_equal(reader.episode(1).rgb[2], rgb_of(later[2]))


def test_a_goal_of_one_command_is_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with GraphBag(tmp_path / "bag") as bag:
        for index, stamp in enumerate(EVEN):
            bag.observation(stamp)
            bag.command(stamp, goal=min(index + 1, 2))
    assert convert(tmp_path, instruction="go").episode_lengths().tolist() == [len(EVEN) - 1]
    assert "goals left out, fewer than 2 frames are recorded with their commands: 1" in capsys.readouterr().out


def test_what_the_robot_refused_is_no_action(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with GraphBag(tmp_path / "bag") as bag:
        bag.chunk(EVEN[0], SECOND // 10)
        for index, stamp in enumerate(EVEN):
            bag.observation(stamp)
            bag.command(stamp)
            bag.verdict(stamp, executed=index != 4)
    action = convert(tmp_path, instruction="go").episode(0).action
    assert len(action) == len(EVEN) and not action[4, :6].any() and action[3, :6].any() and action[5, :6].any()
    assert "commands left out, the robot refused them: 1" in capsys.readouterr().out


def test_a_goal_that_another_one_takes_over_ends_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with GraphBag(tmp_path / "bag") as bag:
        for index, stamp in enumerate(EVEN):
            bag.observation(stamp)
            bag.command(stamp, goal=1 if index < 4 else 2)
        bag.command(EVEN[-1], goal=1)
    reader = convert(tmp_path, instruction="go")
    assert reader.episode_lengths().tolist() == [4, 5]
    assert "commands left out, another goal had begun: 1" in capsys.readouterr().out


CAMERA_30 = [START + step * SECOND // 30 for step in range(60)]


def test_commands_of_one_chunk_belong_to_the_pictures_of_their_time(tmp_path: Path) -> None:
    """A camera of 30 Hz, control steps of 5 Hz: every sixth picture is answered."""
    with GraphBag(tmp_path / "bag") as bag:
        for index, stamp in enumerate(CAMERA_30):
            bag.observation(stamp)
            if index % 12 == 0:
                bag.chunk(stamp, SECOND // 5)
                bag.command(stamp, at=stamp + 1_000_000)
            if index % 12 == 6:
                bag.command(CAMERA_30[index - 6], number=1, at=stamp + 1_000_000)
    demonstration = convert(tmp_path, instruction="go").episode(0)
    assert demonstration.fps == 5.0
    np.testing.assert_array_equal(demonstration.rgb, [rgb_of(stamp) for stamp in CAMERA_30[:55:6]])
    np.testing.assert_array_equal(demonstration.action[0], rpy_of(CAMERA_30[0]))
    np.testing.assert_allclose(demonstration.action[1][:3], command_of(CAMERA_30[0], 1)[:3], atol=1e-6)


def test_commands_that_came_late_are_put_to_the_control_rate(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answered = (0, 6, 16, 18, 24, 30)
    with GraphBag(tmp_path / "bag") as bag:
        bag.chunk(CAMERA_30[0], SECOND // 5)
        for index, stamp in enumerate(CAMERA_30):
            bag.observation(stamp)
            if index in answered:
                bag.command(stamp, at=stamp + 1_000_000)
    demonstration = convert(tmp_path, instruction="go").episode(0)
    assert (demonstration.fps, len(demonstration)) == (5.0, 6)
    assert "episodes resampled to 5 Hz" in capsys.readouterr().out
    # Nothing of the motion is lost.
    moved = np.sum([command_of(CAMERA_30[index])[:3] for index in answered], axis=0)
    np.testing.assert_allclose(demonstration.action[:, :3].sum(axis=0), moved, atol=1e-5)
