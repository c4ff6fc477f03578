import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from examples import examples
from foreign_dataset import INSTRUCTIONS, PICTURE, write_bridge_dataset
from hypothesis import given
from hypothesis import strategies as st
from made_demonstrations import make_demonstration

from stvla_ros.errors import InputError
from stvla_ros.learning.datasets.lerobot.reader import LeRobotReader
from stvla_ros.learning.datasets.lerobot.writer import LeRobotWriter

VERSIONS = pytest.mark.parametrize("version", ["v3.0", "v2.1"])
DATA = "data/chunk-000/file-000.parquet"
EPISODES = "meta/episodes/chunk-000/file-000.parquet"
TASKS = "meta/tasks.parquet"
VIDEO = f"videos/{PICTURE}/chunk-000/file-000.mp4"


@pytest.fixture
def bridge(tmp_path: Path) -> Path:
    return write_bridge_dataset(tmp_path / "bridge", episodes=2, frames=4)


@pytest.fixture
def ours(tmp_path: Path) -> Path:
    with LeRobotWriter(tmp_path / "ours", "widowx") as writer:
        for seed in range(2):
            writer.add_episode(make_demonstration(seed))
    return tmp_path / "ours"


# --- foreign data -----------------------------------------------------------------------------------------------------


@VERSIONS
def test_foreign_data_of_bridges_shape_are_read(tmp_path: Path, version: str) -> None:
    reader = LeRobotReader(write_bridge_dataset(tmp_path / "bridge", episodes=3, frames=6, version=version))

    assert (len(reader), reader.info.num_frames, reader.info.fps, reader.info.robot_type) == (3, 21, 5.0, "widowx")
    assert reader.episode_lengths().tolist() == [6, 7, 8]
    assert reader.instructions() == [INSTRUCTIONS[0], INSTRUCTIONS[1], INSTRUCTIONS[0]]
    assert (reader.actions().shape, reader.actions().dtype) == ((21, 7), np.float32)
    demonstration = reader.episode(1)
    assert (demonstration.depth, demonstration.intrinsics, demonstration.executed_action) == (None, None, None)
    assert demonstration.stamps.tolist() == [200_000_000 * step for step in range(7)]
    assert demonstration.success
    np.testing.assert_array_equal(demonstration.action, reader.actions()[6:13])


@VERSIONS
def test_each_episode_gets_its_own_frames_of_the_video(tmp_path: Path, version: str) -> None:
    reader = LeRobotReader(write_bridge_dataset(tmp_path / "bridge", episodes=3, frames=6, version=version))

    for number in range(3):
        demonstration = reader.episode(number)
        # The block is where the state says, in every frame.
        for rgb, state in zip(demonstration.rgb, demonstration.state):
            rows, columns = np.nonzero((rgb[..., 0] > 150) & (rgb[..., 1] < 90))
            np.testing.assert_allclose([columns.mean() / 64, rows.mean() / 64], state[:2] / 0.3, atol=0.02)


def test_a_state_with_padding_becomes_pose_and_opening(bridge: Path) -> None:
    stored = pq.read_table(bridge / DATA)["observation.state"].to_pylist()[:4]

    state = LeRobotReader(bridge).episode(0).state

    np.testing.assert_array_equal(state, np.array(stored, np.float32)[:, [0, 1, 2, 3, 4, 5, 7]])


def test_a_state_of_unknown_meaning_is_left_out(bridge: Path) -> None:
    change_info(bridge, lambda info: info["features"]["observation.state"].update(names=None))

    assert LeRobotReader(bridge).episode(0).state is None


def test_numbers_in_large_lists_are_read(bridge: Path) -> None:
    usual = LeRobotReader(bridge).actions()
    table = pq.read_table(bridge / DATA)
    large = table["action"].combine_chunks().cast(pa.large_list(pa.float64()))
    pq.write_table(table.set_column(table.column_names.index("action"), "action", large), bridge / DATA)
    np.testing.assert_array_equal(LeRobotReader(bridge).actions(), usual)


def test_an_episode_without_frames_is_left_out_and_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_bridge_dataset(tmp_path / "bridge", episodes=3, frames=6, version="v2.1")
    with (folder / "meta/episodes.jsonl").open("a") as file:
        file.write(json.dumps({"episode_index": 3, "tasks": [], "length": 0}) + "\n")
    change_info(folder, lambda info: info.update(total_episodes=4))
    assert len(LeRobotReader(folder).instructions()) == 3
    assert "left out, without frames: episode 3" in capsys.readouterr().err


def test_the_first_picture_is_taken_unless_another_is_named(ours: Path) -> None:
    def add_second(info: dict) -> None:
        info["features"]["observation.images.wrist"] = info["features"]["observation.images.camera"]

    change_info(ours, add_second)
    table = pq.read_table(ours / DATA)
    pq.write_table(table.append_column("observation.images.wrist", table["observation.images.depth"]), ours / DATA)

    first = LeRobotReader(ours).episode(0).rgb
    second = LeRobotReader(ours, picture="observation.images.wrist").episode(0).rgb

    np.testing.assert_array_equal(first, make_demonstration(0).rgb)
    assert (second != first).any()


def test_episodes_are_found_in_row_groups_that_cut_across_them(ours: Path) -> None:
    pq.write_table(pq.read_table(ours / DATA), ours / DATA, row_group_size=3)

    reader = LeRobotReader(ours)

    for number in range(2):
        np.testing.assert_array_equal(reader.episode(number).depth, make_demonstration(number).depth)


def test_depth_that_nobody_marked_is_not_the_picture_where_there_is_another(tmp_path: Path) -> None:
    folder = write_bridge_dataset(tmp_path / "bridge", episodes=1)
    file = folder / "meta/info.json"
    info = json.loads(file.read_text())
    usual = info["features"][PICTURE]
    info["features"] = {"observation.images.front_depth": usual, **info["features"]}
    file.write_text(json.dumps(info))
    assert LeRobotReader(folder).info.picture == PICTURE


def test_actions_and_instructions_need_no_pictures(bridge: Path) -> None:
    (bridge / VIDEO).write_bytes(b"no video")
    reader = LeRobotReader(bridge)

    assert len(reader.actions()) == 9
    assert reader.instructions() == list(INSTRUCTIONS)


def test_a_reader_travels_to_a_worker_process(ours: Path) -> None:
    reader = pickle.loads(pickle.dumps(LeRobotReader(ours)))

    np.testing.assert_array_equal(reader.episode(1).rgb, make_demonstration(1).rgb)


# --- what cannot be read ----------------------------------------------------------------------------------------------


def change_info(folder: Path, change: Callable[[dict], Any]) -> None:
    file = folder / "meta/info.json"
    info = json.loads(file.read_text())
    change(info)
    file.write_text(json.dumps(info))


def change_column(file: Path, name: str, values: list) -> None:
    table = pq.read_table(file)
    pq.write_table(table.set_column(table.column_names.index(name), name, pa.array(values)), file)


def change_values(file: Path, name: str, change: Callable[[list], Any]) -> None:
    values = pq.read_table(file)[name].to_pylist()
    change(values)
    change_column(file, name, values)


def drop_column(file: Path, name: str) -> None:
    pq.write_table(pq.read_table(file).drop_columns([name]), file)


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def flip(file: Path, place: int) -> None:
    data = bytearray(file.read_bytes())
    data[place] ^= 128
    file.write_bytes(data)


def read_all(folder: Path, **options: Any) -> None:
    reader = LeRobotReader(folder, **options)
    reader.instructions()
    reader.actions()
    for number in range(len(reader)):
        reader.episode(number)


DAMAGES = {
    "info missing": (lambda f: (f / "meta/info.json").unlink(), "meta/info.json: expected this file"),
    "info cut off": (lambda f: cut(f / "meta/info.json"), "meta/info.json: expected JSON"),
    "info without rate": (lambda f: change_info(f, lambda i: i.pop("fps")), "info.json: expected 'fps'"),
    "rate of zero": (lambda f: change_info(f, lambda i: i.update(fps=0)), "expected fps above 0"),
    "old version": (
        lambda f: change_info(f, lambda i: i.update(codebase_version="v1.6")),
        "info.json: expected codebase_version v3.0, v2.1, v2.0, got 'v1.6'",
    ),
    "no action": (lambda f: change_info(f, lambda i: i["features"].pop("action")), "expected a feature action"),
    "action of 6": (
        lambda f: change_info(f, lambda i: i["features"]["action"].update(shape=[6])),
        r"expected action of shape \[7\]",
    ),
    "joint action": (
        lambda f: change_info(f, lambda i: i["features"]["action"].update(names=[f"joint_{j}" for j in range(7)])),
        "expected steps of the end effector .* got joints: joint_0",
    ),
    "no picture": (lambda f: change_info(f, lambda i: i["features"].pop(PICTURE)), "expected a feature observation"),
    "wrong totals": (lambda f: change_info(f, lambda i: i.update(total_frames=10)), "expected 2 episodes and 10"),
    "no episodes": (lambda f: (f / EPISODES).unlink(), "expected the table of episodes"),
    "episodes cut off": (lambda f: cut(f / EPISODES), "file-000.parquet: cannot be read"),
    "no length": (lambda f: drop_column(f / EPISODES, "length"), "expected a column length"),
    "episode twice": (lambda f: change_column(f / EPISODES, "episode_index", [0, 0]), "every episode_index once"),
    "no tasks": (lambda f: (f / TASKS).unlink(), "tasks.parquet: expected this file"),
    "tasks without text": (lambda f: drop_column(f / TASKS, "__index_level_0__"), "expected the columns task_index"),
    "tasks without numbers": (
        lambda f: drop_column(f / TASKS, "task_index"),
        "expected the columns task_index and task",
    ),
    "empty task": (
        lambda f: change_column(f / TASKS, "__index_level_0__", ["lift", " "]),
        "1 of 2 have none, such as episode 1",
    ),
    "unknown task": (lambda f: change_column(f / DATA, "task_index", [7] * 9), "2 of 2 have none, such as episode 0"),
    "changing task": (lambda f: change_column(f / DATA, "task_index", [0, 1] * 4 + [0]), "expected one task_index"),
    "no data": (lambda f: (f / DATA).unlink(), "file-000.parquet: expected the file of episode 0"),
    "data cut off": (lambda f: cut(f / DATA), "data/chunk-000/file-000.parquet: cannot be read"),
    "data without action": (lambda f: drop_column(f / DATA, "action"), "expected a column action"),
    "stored action of 6": (
        lambda f: change_column(f / DATA, "action", [[0.0] * 6] * 9),
        r"column action: expected 7 numbers a frame, got \[6\]",
    ),
    "ragged action": (lambda f: change_values(f / DATA, "action", lambda v: v[1].pop()), "expected 7 numbers a frame"),
    "scalar action": (lambda f: change_column(f / DATA, "action", [0.0] * 9), "expected 7 numbers a frame, got double"),
    "action with gaps": (lambda f: change_column(f / DATA, "action", [None, *[[0.0] * 7] * 8]), "1 have none"),
    "action not finite": (
        lambda f: change_values(f / DATA, "action", lambda v: v[0].__setitem__(0, float("nan"))),
        "expected finite numbers",
    ),
    "fewer frames": (
        lambda f: change_column(f / DATA, "episode_index", [0] * 3 + [1] * 6),
        "expected 4 successive frames of episode 0, found 3",
    ),
    "episodes by name": (
        lambda f: change_column(f / DATA, "episode_index", ["a"] * 4 + ["b"] * 5),
        "expected numbers in the column episode_index, got string",
    ),
    "scattered frames": (
        lambda f: change_column(f / DATA, "episode_index", [0, 1, 0, 1, 0, 1, 0, 1, 1]),
        "expected 4 successive frames",
    ),
    "no video": (lambda f: (f / VIDEO).unlink(), "mp4: expected the file of episode 0"),
    "video cut off": (lambda f: cut(f / VIDEO), "video .*mp4: (cannot be read|expected 4 frames)"),
    "video with a broken head": (lambda f: flip(f / VIDEO, 8), "video .*mp4: cannot be read"),
    "video too short": (
        lambda f: change_column(f / EPISODES, f"videos/{PICTURE}/from_timestamp", [0.2, 1.0]),
        "expected 5 frames at 5 Hz from 1 s on, found 4",
    ),
}


@pytest.mark.parametrize("damage, message", DAMAGES.values(), ids=DAMAGES)
def test_what_is_missing_or_damaged_is_named(bridge: Path, damage: Callable[[Path], Any], message: str) -> None:
    read_all(bridge)
    damage(bridge)

    with pytest.raises(InputError, match=message) as error:
        read_all(bridge)

    assert str(bridge) in str(error.value)
    assert "\n" not in str(error.value)


PICTURE_DAMAGES = {
    "no picture in a frame": (None, "expected a png or jpeg in frame 2, got 0 other bytes"),
    "not a picture": (b"hello", "expected a png or jpeg in frame 2, got 5 other bytes"),
}


@pytest.mark.parametrize("content, message", PICTURE_DAMAGES.values(), ids=PICTURE_DAMAGES)
def test_a_damaged_picture_is_named(ours: Path, content: bytes | None, message: str) -> None:
    name = "observation.images.camera"
    change_values(ours / DATA, name, lambda values: values[2].update(bytes=content))

    with pytest.raises(InputError, match=f"episode 0, column {name}: {message}"):
        read_all(ours)


def test_depth_of_8_bits_is_refused(ours: Path) -> None:
    table = pq.read_table(ours / DATA)
    colour = table["observation.images.camera"]
    index = table.column_names.index("observation.images.depth")
    pq.write_table(table.set_column(index, "observation.images.depth", colour), ours / DATA)

    with pytest.raises(InputError, match=r"observation.images.depth: expected uint16 \(H, W\) in frame 0, got uint8"):
        read_all(ours)


def test_a_camera_that_changes_within_an_episode_is_refused(ours: Path) -> None:
    change_values(ours / DATA, "observation.intrinsics", lambda values: values[1].__setitem__(0, 99.0))

    with pytest.raises(InputError, match="expected the same intrinsics"):
        read_all(ours)


def test_stamps_that_go_back_are_refused(ours: Path) -> None:
    change_column(ours / DATA, "stamp", [0, 2, 1, 3, 4] * 2)

    with pytest.raises(InputError, match="episode 0: expected stamps that increase"):
        read_all(ours)


@examples(quick=40)
@given(data=st.data())
def test_whatever_is_damaged_is_read_or_refused_in_one_line(bridge: Path, ours: Path, data: st.DataObject) -> None:
    folder = data.draw(st.sampled_from([bridge, ours]))
    file = data.draw(st.sampled_from(sorted(path for path in folder.rglob("*") if path.is_file())))
    whole = file.read_bytes()
    damaged = bytearray(whole[: data.draw(st.integers(0, len(whole)))] if data.draw(st.booleans()) else whole)
    for place in data.draw(st.lists(st.integers(0, len(whole) - 1), max_size=3)):
        if place < len(damaged):
            damaged[place] ^= data.draw(st.integers(1, 255))
    file.write_bytes(damaged)
    try:
        read_all(folder)
    except InputError as error:
        assert "\n" not in str(error)
    finally:
        file.write_bytes(whole)


def test_an_episode_without_instruction_is_refused(bridge: Path) -> None:
    change_column(bridge / TASKS, "__index_level_0__", ["lift", ""])
    reader = LeRobotReader(bridge)

    assert reader.episode(0).instruction == "lift"
    with pytest.raises(InputError, match="episode 1: expected an instruction"):
        reader.episode(1)


def test_an_unknown_picture_is_refused(bridge: Path) -> None:
    with pytest.raises(InputError, match=f"expected a picture observation.images.image_9, it has {PICTURE}"):
        LeRobotReader(bridge, picture="observation.images.image_9")


def test_a_folder_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nowhere: expected a folder"):
        LeRobotReader(tmp_path / "nowhere")


@pytest.mark.parametrize("number", [-1, 2])
def test_an_episode_out_of_range_is_refused(ours: Path, number: int) -> None:
    with pytest.raises(InputError, match="expected an episode 0 to 1"):
        LeRobotReader(ours).episode(number)


def test_a_line_separator_within_a_tasks_text_ends_no_line(tmp_path: Path) -> None:
    folder = write_bridge_dataset(tmp_path / "bridge", version="v2.1")
    file = folder / "meta/tasks.jsonl"
    tasks = [json.loads(line) | {"task": "lift\u2028the lid"} for line in file.read_text().split("\n") if line]
    file.write_text("\n".join(json.dumps(task, ensure_ascii=False) for task in tasks))
    assert "\u2028" in file.read_text()

    assert LeRobotReader(folder).episode(0).instruction == "lift\u2028the lid"


@pytest.mark.parametrize("name", ["episodes.jsonl", "tasks.jsonl"])
def test_a_damaged_table_of_the_older_format_is_named(tmp_path: Path, name: str) -> None:
    folder = write_bridge_dataset(tmp_path / "bridge", version="v2.1")
    (folder / "meta" / name).write_text('{"episode_index": 0\n')

    with pytest.raises(InputError, match=f"{name}, line 1: expected JSON"):
        LeRobotReader(folder)
