import json
import os
import resource
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from made_demonstrations import differing_parts, make_demonstration, smooth_pictures

from stvla_ros.errors import InputError
from stvla_ros.learning.datasets.lerobot.reader import LeRobotReader
from stvla_ros.learning.datasets.lerobot.writer import LeRobotWriter

FINITE = st.floats(width=32, allow_nan=False, allow_infinity=False)


def test_a_demonstration_comes_back_bit_for_bit(tmp_path: Path) -> None:
    written = [make_demonstration(seed, frames=3 + seed) for seed in range(4)]
    with LeRobotWriter(tmp_path / "data", "widowx") as writer:
        for demonstration in written:
            writer.add_episode(demonstration)

    reader = LeRobotReader(tmp_path / "data")

    assert [differing_parts(one, reader.episode(number)) for number, one in enumerate(written)] == [[], [], [], []]
    assert (reader.info.robot_type, reader.info.fps, len(reader)) == ("widowx", 5.0, 4)
    assert reader.episode_lengths().tolist() == [3, 4, 5, 6]
    assert reader.instructions() == [demonstration.instruction for demonstration in written]
    assert reader.actions().tobytes() == np.concatenate([one.action for one in written]).tobytes()


@examples(quick=15)
@given(
    action=arrays(np.float32, (3, 7), elements=FINITE),
    depth=arrays(np.uint16, (3, 5, 7)),
    rgb=arrays(np.uint8, (3, 5, 7, 3)),
    steps=st.lists(st.integers(1, 2**40), min_size=3, max_size=3),
    instruction=st.text(min_size=1).filter(lambda text: text.strip() and text.isprintable()),
    fps=st.floats(0.1, 240.0),
)
def test_any_numbers_and_words_come_back(
    tmp_path_factory: pytest.TempPathFactory,
    action: np.ndarray,
    depth: np.ndarray,
    rgb: np.ndarray,
    steps: list[int],
    instruction: str,
    fps: float,
) -> None:
    root = tmp_path_factory.mktemp("any") / "data"
    parts = {"action": action, "depth": depth, "rgb": rgb, "stamps": np.cumsum(steps), "fps": fps}
    demonstration = make_demonstration(frames=3, size=(7, 5), instruction=instruction, **parts)
    with LeRobotWriter(root, "widowx") as writer:
        writer.add_episode(demonstration)

    assert differing_parts(demonstration, LeRobotReader(root).episode(0)) == []


def test_parts_that_are_not_there_stay_away(tmp_path: Path) -> None:
    absent = dict.fromkeys(("depth", "intrinsics", "executed_action", "state", "scene_points"))
    demonstration = make_demonstration(**absent)
    with LeRobotWriter(tmp_path / "data", "panda") as writer:
        writer.add_episode(demonstration)

    assert differing_parts(demonstration, LeRobotReader(tmp_path / "data").episode(0)) == []


def test_large_data_go_into_several_files(tmp_path: Path) -> None:
    written = [make_demonstration(seed, frames=2, size=(320, 240)) for seed in range(5)]
    with LeRobotWriter(tmp_path / "data", "widowx", data_file_mb=1) as writer:
        for demonstration in written:
            writer.add_episode(demonstration)

    files = sorted(file.name for file in (tmp_path / "data/data/chunk-000").iterdir())
    reader = LeRobotReader(tmp_path / "data")

    assert files == [f"file-00{number}.parquet" for number in range(5)]
    assert [differing_parts(one, reader.episode(number)) for number, one in enumerate(written)] == [[]] * 5


def test_each_episode_of_a_file_can_be_read_alone(tmp_path: Path) -> None:
    with LeRobotWriter(tmp_path / "data", "widowx") as writer:
        for seed in range(3):
            writer.add_episode(make_demonstration(seed, frames=4))

    metadata = pq.read_metadata(tmp_path / "data/data/chunk-000/file-000.parquet")

    assert [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)] == [4, 4, 4]


def test_video_keeps_pictures_nearly_and_the_rest_exactly(tmp_path: Path) -> None:
    size = (64, 48)
    written = [make_demonstration(seed, 6 + seed, size, rgb=smooth_pictures(6 + seed, size)) for seed in range(3)]
    with LeRobotWriter(tmp_path / "data", "widowx", video=True) as writer:
        for demonstration in written:
            writer.add_episode(demonstration)

    reader = LeRobotReader(tmp_path / "data")
    for number, demonstration in enumerate(written):
        read = reader.episode(number)
        # Frames are 13 grey levels apart, so a neighbour in its place would be seen.
        assert np.abs(read.rgb.astype(int) - demonstration.rgb).mean(axis=(1, 2, 3)).max() < 3
        assert differing_parts(demonstration, read) == ["rgb"]


def test_large_videos_go_into_several_files(tmp_path: Path) -> None:
    noise = [make_demonstration(seed, 70, (192, 144)) for seed in range(3)]
    with LeRobotWriter(tmp_path / "data", "widowx", video=True, video_file_mb=1) as writer:
        for demonstration in noise:
            writer.add_episode(demonstration)

    files = list((tmp_path / "data/videos/observation.images.camera/chunk-000").iterdir())
    reader = LeRobotReader(tmp_path / "data")

    assert len(files) > 1
    assert [len(reader.episode(number)) for number in range(3)] == [70, 70, 70]


def test_statistics_are_those_of_all_frames(tmp_path: Path) -> None:
    written = [make_demonstration(seed, frames=3 + 4 * seed) for seed in range(3)]
    with LeRobotWriter(tmp_path / "data", "widowx") as writer:
        for demonstration in written:
            writer.add_episode(demonstration)

    stats = json.loads((tmp_path / "data/meta/stats.json").read_text())
    action = np.concatenate([one.action for one in written]).astype(np.float64)
    rgb = np.concatenate([one.rgb for one in written]) / 255.0
    depth = np.concatenate([one.depth for one in written]).astype(np.float64)

    for name, values, axes in (("action", action, 0), ("observation.images.camera", rgb, (0, 1, 2))):
        for kind in ("min", "max", "mean", "std"):
            expected = getattr(values, kind)(axis=axes)
            np.testing.assert_allclose(np.array(stats[name][kind]).reshape(-1), expected, rtol=1e-9, atol=1e-12)
        assert stats[name]["count"] == [21]
    np.testing.assert_allclose(stats["observation.images.depth"]["mean"], [[[depth.mean()]]])


def test_quantiles_of_an_episode_are_those_of_its_pixels(tmp_path: Path) -> None:
    demonstration = make_demonstration(frames=4)
    with LeRobotWriter(tmp_path / "data", "widowx") as writer:
        writer.add_episode(demonstration)

    stats = json.loads((tmp_path / "data/meta/stats.json").read_text())["observation.images.depth"]

    for name, share in (("q01", 0.01), ("q50", 0.5), ("q99", 0.99)):
        expected = np.quantile(demonstration.depth, share, method="inverted_cdf")
        assert stats[name] == [[[expected]]]


def test_a_failed_context_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), LeRobotWriter(tmp_path / "data", "widowx") as writer:
        writer.add_episode(make_demonstration())
        raise RuntimeError

    assert list(tmp_path.iterdir()) == []


def test_a_killed_run_leaves_no_half_data_set_and_the_next_one_tidies_up(tmp_path: Path) -> None:
    script = """
        import sys, time
        from pathlib import Path
        from made_demonstrations import make_demonstration
        from stvla_ros.learning.datasets.lerobot.writer import LeRobotWriter

        writer = LeRobotWriter(Path(sys.argv[1]), "widowx")
        writer.add_episode(make_demonstration())
        print("written", flush=True)
        time.sleep(60)
    """
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    command = [sys.executable, "-c", textwrap.dedent(script), str(tmp_path / "data")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as process:
        assert process.stdout.readline() == b"written\n"
        process.send_signal(signal.SIGKILL)
    assert not (tmp_path / "data").exists()
    assert len(list(tmp_path.iterdir())) == 1

    with LeRobotWriter(tmp_path / "data", "widowx") as writer:
        writer.add_episode(make_demonstration())

    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_what_another_live_process_writes_is_left_alone(tmp_path: Path) -> None:
    theirs = tmp_path / f".data.partial-{os.getppid()}"
    theirs.mkdir()

    with LeRobotWriter(tmp_path / "data", "widowx") as writer:
        writer.add_episode(make_demonstration())

    assert theirs.exists()


@pytest.mark.parametrize("video", [False, True], ids=["pictures", "video"])
def test_a_disk_that_fails_is_one_line_and_leaves_nothing(tmp_path: Path, video: bool) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(InputError, match="data: cannot be written") as error:
            with LeRobotWriter(tmp_path / "data", "widowx", video=video) as writer:
                for seed in range(20):
                    writer.add_episode(make_demonstration(seed, 4, (320, 240)))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))

    assert "\n" not in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_is_taken_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be written"), LeRobotWriter(tmp_path / "data", "widowx") as writer:
        writer.add_episode(make_demonstration())
        (tmp_path / "data").mkdir()
        (tmp_path / "data/mine.txt").write_text("mine")

    assert [path.name for path in tmp_path.rglob("*")] == ["data", "mine.txt"]


def test_no_episode_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="at least one episode"), LeRobotWriter(tmp_path / "data", "widowx"):
        pass

    assert list(tmp_path.iterdir()) == []


def test_a_folder_with_something_in_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("mine")

    with pytest.raises(InputError, match="new or empty folder"):
        LeRobotWriter(tmp_path, "widowx")


@pytest.mark.parametrize(
    "changes",
    [
        {"depth": None},
        {"state": None},
        {"fps": 10.0},
        {"rgb": np.zeros((5, 24, 30, 3), np.uint8), "depth": np.zeros((5, 24, 30), np.uint16)},
    ],
    ids=["depth", "state", "rate", "size"],
)
def test_an_episode_unlike_the_first_is_refused_and_the_rest_stays(tmp_path: Path, changes: dict) -> None:
    with LeRobotWriter(tmp_path / "data", "widowx") as writer:
        writer.add_episode(make_demonstration())
        with pytest.raises(InputError, match="episode 1: expected the parts, size and rate of the first episode"):
            writer.add_episode(make_demonstration(**changes))

    assert len(LeRobotReader(tmp_path / "data")) == 1


@pytest.mark.parametrize("instruction", ["", " \n"])
def test_an_episode_without_instruction_is_refused(tmp_path: Path, instruction: str) -> None:
    with pytest.raises(InputError, match="expected an instruction"):
        with LeRobotWriter(tmp_path / "data", "widowx") as writer:
            writer.add_episode(make_demonstration(instruction=instruction))


def test_an_action_that_is_not_finite_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="finite actions"), LeRobotWriter(tmp_path / "data", "widowx") as writer:
        writer.add_episode(make_demonstration(action=np.full((5, 7), np.nan, np.float32)))


def test_a_video_of_odd_sides_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="even sides"), LeRobotWriter(tmp_path / "d", "widowx", video=True) as writer:
        writer.add_episode(make_demonstration(size=(33, 24)))


def test_after_closing_nothing_is_added(tmp_path: Path) -> None:
    with LeRobotWriter(tmp_path / "data", "widowx") as writer:
        writer.add_episode(make_demonstration())

    with pytest.raises(InputError, match="after it was closed"):
        writer.add_episode(make_demonstration())


def test_files_below_a_megabyte_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="at least 1 MB"):
        LeRobotWriter(tmp_path / "data", "widowx", data_file_mb=0)
