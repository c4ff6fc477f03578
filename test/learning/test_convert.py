from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_bags import (
    FAILED,
    INTRINSICS,
    RUNNING,
    SECOND,
    START,
    SUCCEEDED,
    GraphBag,
    command_of,
    depth_of,
    record_episode,
    rgb_of,
)
from scipy.spatial.transform import Rotation

from stvla_ros.errors import InputError
from stvla_ros.learning.datasets.convert import ConvertArguments, main
from stvla_ros.learning.datasets.lerobot.reader import LeRobotReader
from stvla_ros.recordings import message_definitions

# The wall clock of a simulator in lockstep: no step takes as long as another.
UNEVEN = [START + offset * SECOND // 1000 for offset in (0, 310, 450, 1300, 1420)]
EVEN = [START + 10 * SECOND + step * SECOND // 10 for step in range(9)]


def convert(tmp_path: Path, **options: Any) -> LeRobotReader:
    options = {"bags": (str(tmp_path / "bag"),), "output": str(tmp_path / "data"), **options}
    assert main(ConvertArguments(**options)) == 0
    return LeRobotReader(tmp_path / "data")


def rpy_of(stamp: int) -> np.ndarray:
    """The command as a label: roll, pitch, yaw about the fixed axes."""
    command = command_of(stamp)
    angles = Rotation.from_rotvec(command[3:6]).as_euler("xyz")
    return np.array([*command[:3], *angles, command[6]], np.float32)


def test_every_episode_of_a_bag_becomes_one_with_its_frames_as_they_were(tmp_path: Path) -> None:
    with GraphBag(tmp_path / "bag") as bag:
        record_episode(bag, UNEVEN, index=0)
        record_episode(bag, EVEN, index=1, outcome=FAILED)

    reader = convert(tmp_path)

    assert (len(reader), reader.info.fps, reader.info.robot_type) == (2, 5.0, "widowx")
    for number, (stamps, success) in enumerate([(UNEVEN, True), (EVEN, False)]):
        demonstration = reader.episode(number)
        answered = stamps[:-1]
        assert demonstration.stamps.tolist() == [stamp - stamps[0] for stamp in answered]
        np.testing.assert_array_equal(demonstration.rgb, [rgb_of(stamp) for stamp in answered])
        np.testing.assert_array_equal(demonstration.depth, [depth_of(stamp) for stamp in answered])
        np.testing.assert_array_equal(demonstration.intrinsics, INTRINSICS)
        np.testing.assert_array_equal(demonstration.action, [rpy_of(stamp) for stamp in answered])
        assert (demonstration.instruction, demonstration.success) == ("stack the cubes", success)
        assert demonstration.source["episode_id"] == 10 + number
        assert demonstration.source["first_stamp_ns"] == stamps[0]


def test_metres_that_are_millimetres_are_refused_before_they_are_lost(tmp_path: Path) -> None:
    with GraphBag(tmp_path / "bag") as bag:
        for stamp in EVEN:
            bag.observation(stamp, np.full_like(depth_of(stamp), 800).astype(np.float32))
            bag.command(stamp)
    with pytest.raises(InputError, match="depth: a median distance of 800 m .* 32FC1 is in metres"):
        convert(tmp_path, instruction="pick")


def test_a_depth_sensor_that_died_is_told(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    stamps = [START + step * SECOND // 5 for step in range(9)]
    with GraphBag(tmp_path / "bag") as bag:
        for stamp in stamps:
            bag.observation(stamp, np.zeros_like(depth_of(stamp)))
            bag.command(stamp)
    convert(tmp_path, instruction="pick")
    assert "with odd depth (0.0% of the pixels have a distance, for 1.2 s): 3" in capsys.readouterr().out


def test_a_depth_that_is_stamped_a_little_later_is_its_pictures(tmp_path: Path) -> None:
    with GraphBag(tmp_path / "bag") as bag:
        record_episode(bag, EVEN, depth_later=4_000_000)
    demonstration = convert(tmp_path).episode(0)
    np.testing.assert_array_equal(demonstration.rgb, [rgb_of(stamp) for stamp in EVEN[:-1]])
    np.testing.assert_array_equal(demonstration.depth, [depth_of(stamp) for stamp in EVEN[:-1]])


def test_depths_none_of_which_belongs_to_a_picture_are_told_with_their_distance(tmp_path: Path) -> None:
    with GraphBag(tmp_path / "bag") as bag:
        record_episode(bag, EVEN, depth_later=4_000_000)
    with pytest.raises(InputError, match=r"expected pictures with their depths, got 9 pictures, 9 depths, nearest 4.0"):
        convert(tmp_path, sync_tolerance=0.002)


def test_rotation_vectors_become_angles_about_fixed_axes(tmp_path: Path) -> None:
    with GraphBag(tmp_path / "bag") as bag:
        record_episode(bag, UNEVEN)

    roll, pitch, yaw = convert(tmp_path).episode(0).action[1, 3:6].astype(float)

    def turn(axis: int, angle: float) -> np.ndarray:
        return Rotation.from_rotvec(angle * np.eye(3)[axis]).as_matrix()

    # Fixed axes: about x first, then about the base's y, then about the base's z.
    expected = Rotation.from_rotvec(command_of(UNEVEN[1])[3:6]).as_matrix()
    np.testing.assert_allclose(turn(2, yaw) @ turn(1, pitch) @ turn(0, roll), expected, atol=1e-6)


def test_what_is_left_out_is_counted_and_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with GraphBag(tmp_path / "bag") as bag:
        bag.observation(START - SECOND)
        record_episode(bag, UNEVEN, index=0)
        bag.observation(UNEVEN[-1])
        bag.command(START + 5 * SECOND)
        record_episode(bag, EVEN, index=1, outcome=RUNNING)

    assert len(convert(tmp_path)) == 1

    printed = capsys.readouterr().out
    assert "in no episode's course (the one after its last step among them): 2" in printed
    assert "frames left out, their stamp repeats or goes back: 1" in printed
    assert "commands left out, their frame is not recorded: 1" in printed
    assert "episodes left out, the recording ends before they do: 1" in printed
    assert "1 episodes, 4 frames" in printed


def test_only_successes_leaves_failures_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with GraphBag(tmp_path / "bag") as bag:
        record_episode(bag, UNEVEN, index=0, outcome=FAILED)
        record_episode(bag, EVEN, index=1)

    reader = convert(tmp_path, only_successes=True)

    assert [len(reader), reader.episode(0).source["index"]] == [1, 1]
    assert "episodes left out, they ended without success: 1" in capsys.readouterr().out


def test_of_an_observation_that_was_sent_again_the_answered_one_is_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with GraphBag(tmp_path / "bag") as bag:
        unanswered = UNEVEN[0] - SECOND
        bag.state(unanswered, RUNNING, 0, 0)
        bag.observation(unanswered)
        for step, stamp in enumerate(UNEVEN[:-1]):
            bag.state(stamp, RUNNING, 0, step)
            bag.observation(stamp)
            bag.chunk(stamp, SECOND // 5)
            bag.command(stamp)
        bag.state(UNEVEN[-1], SUCCEEDED, 0, 4)

    np.testing.assert_array_equal(convert(tmp_path).episode(0).rgb, [rgb_of(stamp) for stamp in UNEVEN[:-1]])
    assert "frames left out, another one of the same control step is kept: 1" in capsys.readouterr().out


def test_further_commands_of_a_chunk_belong_to_the_next_frames(tmp_path: Path) -> None:
    with GraphBag(tmp_path / "bag") as bag:
        for step, stamp in enumerate(EVEN[:4]):
            bag.state(stamp, RUNNING, 0, step)
            bag.observation(stamp)
            bag.chunk(stamp, SECOND // 10)
            if step % 2 == 0:
                bag.command(stamp)
            else:
                bag.command(EVEN[step - 1], number=1)
        bag.state(EVEN[4], SUCCEEDED, 0, 4)

    action = convert(tmp_path).episode(0).action

    expected = [command_of(EVEN[step - step % 2], step % 2)[:3] for step in range(4)]
    np.testing.assert_array_equal(action[:, :3], np.array(expected, np.float32))


def test_resampling_says_what_it_merged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with GraphBag(tmp_path / "bag") as bag:
        record_episode(bag, UNEVEN)

    demonstration = convert(tmp_path, fps=2.5).episode(0)

    # In the robot's time the frames are 200 ms apart, however long the steps took.
    np.testing.assert_array_equal(demonstration.rgb, [rgb_of(UNEVEN[0]), rgb_of(UNEVEN[2])])
    assert demonstration.stamps.tolist() == [0, 400_000_000]
    moved = sum(command_of(stamp)[:3] for stamp in UNEVEN[:2])
    np.testing.assert_allclose(demonstration.action[0, :3], moved, rtol=1e-6)
    assert "frames merged into others at 2.5 Hz: 2" in capsys.readouterr().out


def test_a_robots_recording_without_episodes_is_one(tmp_path: Path) -> None:
    with GraphBag(tmp_path / "bag", namespace="/arm", base_frame="link_base") as bag:
        for stamp in EVEN:
            bag.observation(stamp)
            bag.command(stamp)

    reader = convert(tmp_path, instruction="open the drawer")

    assert (len(reader), reader.info.fps, reader.info.robot_type) == (1, 10.0, "google_robot")
    assert reader.instructions() == ["open the drawer"]
    assert reader.episode(0).stamps.tolist() == [stamp - EVEN[0] for stamp in EVEN]


def test_a_recording_without_depth_and_calibration_is_converted(tmp_path: Path) -> None:
    with GraphBag(tmp_path / "bag") as bag:
        record_episode(bag, UNEVEN, without=("sensor_depth", "camera_info"))

    demonstration = convert(tmp_path).episode(0)

    assert (demonstration.depth, demonstration.intrinsics) == (None, None)


def test_depth_in_metres_is_rounded_and_said_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    metres = np.full((6, 8), 0.1234, np.float32)
    metres[0, :5] = [np.nan, np.inf, -1.0, 65.536, 65.535]
    with GraphBag(tmp_path / "bag") as bag:
        record_episode(bag, UNEVEN, depth=metres)

    depth = convert(tmp_path).episode(0).depth[0]

    assert depth[0].tolist() == [0, 0, 0, 0, 65535, 123, 123, 123]
    assert "depth maps rounded from metres to millimetres: 4" in capsys.readouterr().out


def test_several_bags_make_one_data_set(tmp_path: Path) -> None:
    for name, stamps in (("one", UNEVEN), ("two", EVEN)):
        with GraphBag(tmp_path / name) as bag:
            record_episode(bag, stamps)

    reader = convert(tmp_path, bags=(str(tmp_path / "one"), str(tmp_path / "two")))

    assert reader.episode_lengths().tolist() == [4, 8]


def test_a_frame_without_depth_is_left_out_and_a_gap_is_an_error(tmp_path: Path) -> None:
    with GraphBag(tmp_path / "bag") as bag:
        for step, stamp in enumerate(EVEN):
            bag.state(stamp, RUNNING, 0, step)
            bag.observation(stamp, without=("sensor_depth",) if step == 4 else ())
            bag.chunk(stamp, SECOND // 5)
            bag.command(stamp)
        bag.state(EVEN[-1] + SECOND, SUCCEEDED, 0, 9)

    with pytest.raises(
        InputError, match="episode 0: expected frames with a command every 200.0 ms .* 400.0 ms; give f"
    ):
        convert(tmp_path)

    assert not (tmp_path / "data").exists()


def test_unevenly_spaced_frames_of_a_robot_are_an_error(tmp_path: Path) -> None:
    with GraphBag(tmp_path / "bag") as bag:
        for stamp in UNEVEN:
            bag.observation(stamp)
            bag.command(stamp)

    with pytest.raises(InputError, match="give fps to resample"):
        convert(tmp_path, instruction="stack")


def simple_bag(folder: Path, **options: Any) -> None:
    with GraphBag(folder, **options) as bag:
        for stamp in EVEN:
            bag.observation(stamp)
            bag.command(stamp)


BAD_ARGUMENTS = {
    "no bag": ({"bags": ()}, "bags: expected at least one"),
    "no such bag": ({"bags": ("nowhere",)}, "bag nowhere: expected a rosbag2"),
    "rate": ({"fps": -1.0}, "fps: expected 0"),
    "tolerance": ({"tolerance": 0.0}, "tolerance: expected"),
    "topic": ({"image": "image"}, "image: expected a topic with its leading slash"),
    "other topic": (
        {"image": "/cam/image"},
        "expected a topic /cam/image of type sensor_msgs/msg/Image or .*; it has: /image, /overlay, /sensor_d",
    ),
    "no instruction": ({}, "expected an instruction to be given"),
}


@pytest.mark.parametrize("options, message", BAD_ARGUMENTS.values(), ids=BAD_ARGUMENTS)
def test_bad_arguments_are_named(tmp_path: Path, options: dict, message: str) -> None:
    simple_bag(tmp_path / "bag")

    with pytest.raises(InputError, match=message):
        convert(tmp_path, **options)

    assert not (tmp_path / "data").exists()


def test_the_robot_is_the_one_that_the_commands_name_whatever_their_frame_is_called(tmp_path: Path) -> None:
    with GraphBag(tmp_path / "bag", base_frame="base_link", robot="google_robot") as bag:
        record_episode(bag, UNEVEN)
    assert convert(tmp_path).info.robot_type == "google_robot"


def test_a_recording_from_before_commands_named_their_robot_is_read(tmp_path: Path, monkeypatch) -> None:
    older = tmp_path / "EndEffectorCommand.msg"
    vectors = "geometry_msgs/Vector3 translation\ngeometry_msgs/Vector3 rotation\n"
    older.write_text(f"std_msgs/Header header\n{vectors}float32 gripper\n")
    find, named = message_definitions._definition_file, {"stvla_ros/msg/EndEffectorCommand": older}
    monkeypatch.setattr(message_definitions, "_definition_file", lambda name: named.get(name) or find(name))
    with GraphBag(tmp_path / "bag") as bag:
        record_episode(bag, UNEVEN)
    monkeypatch.undo()
    reader = convert(tmp_path)
    assert reader.info.robot_type == "widowx"
    np.testing.assert_array_equal(reader.episode(0).action, [rpy_of(stamp) for stamp in UNEVEN[:-1]])


def test_an_unknown_robot_must_be_named(tmp_path: Path) -> None:
    simple_bag(tmp_path / "bag", base_frame="world")

    with pytest.raises(
        InputError, match="robot: expected a name, the commands have the frames of several robots or of none: none"
    ):
        convert(tmp_path, instruction="stack")

    assert convert(tmp_path, instruction="stack", robot="my_arm").info.robot_type == "my_arm"


def test_a_bag_without_commands_is_refused(tmp_path: Path) -> None:
    with GraphBag(tmp_path / "bag") as bag:
        bag.observation(START)

    with pytest.raises(
        InputError,
        match="expected a topic of type stvla_ros/msg/EndEffectorCommand, found none; its topics: /camera_info ",
    ):
        convert(tmp_path, instruction="stack")


def test_a_command_that_is_not_finite_is_named(tmp_path: Path) -> None:
    with GraphBag(tmp_path / "bag") as bag:
        bag.observation(START)
        bag.command(START, gripper=float("nan"))

    with pytest.raises(InputError, match=f"topic /command, stamp {START}: action gripper"):
        convert(tmp_path, instruction="stack")


def test_a_broken_bag_is_named(tmp_path: Path) -> None:
    simple_bag(tmp_path / "bag")
    storage = next((tmp_path / "bag").glob("*.mcap"))
    storage.write_bytes(storage.read_bytes()[:2000])

    with pytest.raises(InputError, match="bag .*: cannot be read"):
        convert(tmp_path, instruction="stack")


def test_a_bag_whose_episodes_all_failed_gives_no_data_set(tmp_path: Path) -> None:
    with GraphBag(tmp_path / "bag") as bag:
        record_episode(bag, UNEVEN, outcome=FAILED)

    with pytest.raises(InputError, match="at least one episode"):
        convert(tmp_path, only_successes=True)

    assert not (tmp_path / "data").exists()
