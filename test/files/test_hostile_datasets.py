"""LeRobotDatasets whose metadata lead elsewhere, and whose tables, pictures and videos are small only on the disk."""

import json
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from foreign_dataset import write_bridge_dataset
from refusals import refusal

from stvla_ros import cli
from stvla_ros.learning.datasets.lerobot.parquet import open_table, read_rows_of
from stvla_ros.learning.datasets.lerobot.reader import LeRobotReader
from stvla_ros.learning.datasets.lerobot.video import read_frames
from stvla_ros.recordings.open_recording import open_recording
from stvla_ros.recordings.pixels import picture_size
from stvla_ros.recordings.video_writer import VideoWriter
from stvla_ros.safe_files import VARIABLE

VERSIONS = pytest.mark.parametrize("version", ["v3.0", "v2.1"])


def dataset(folder: Path, version: str = "v3.0", **info: Any) -> Path:
    write_bridge_dataset(folder, episodes=2, frames=3, size=(16, 16), version=version)
    file = folder / "meta/info.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **info}))
    return folder


def read_all(folder: Path) -> Callable[[], object]:
    def read() -> None:
        reader = LeRobotReader(folder)
        reader.instructions()
        reader.actions()
        for number in range(len(reader)):
            reader.episode(number)

    return read


# --- paths ------------------------------------------------------------------------------------------------------------

FIELD = {"v3.0": "file_index", "v2.1": "episode_index"}


@VERSIONS
@pytest.mark.parametrize("key", ["data_path", "video_path"])
@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("../{%s}.parquet", "a path inside"),
        ("/etc/passwd", "a path inside"),
        ("data/../../x/{%s}", "a path inside"),
        ("..", "a path inside"),
        ("", "a path"),
        ("a\0b", "a path"),
        ("{%s:2000000000}", "a width of at most 12"),
        ("{%s:>99999999}", "a width of at most 12"),
        ("{%s:{%s}}", "a width of at most 12"),
        ("{%s:.9999999f}", "a width of at most 12"),
        ("{%s.__class__}", "no other fields"),
        ("{%s!r:>900}", "no other fields"),
        ("{0}", "no other fields"),
        ("{%s", "expected a text with"),
        ("x" * 600, "at most 500 characters"),
        (["data"], "expected a text with"),
        (7, "expected a text with"),
    ],
)
def test_a_pattern_of_paths_that_leads_elsewhere_is_refused(
    tmp_path: Path, version: str, key: str, template: Any, said: str
) -> None:
    if isinstance(template, str):
        template = template.replace("%s", FIELD[version])
    folder = dataset(tmp_path / "data", version, **{key: template})
    line = refusal(read_all(folder), folder / "meta/info.json")
    assert said in line and key in line


def test_a_name_of_a_picture_that_leads_elsewhere_is_refused(tmp_path: Path) -> None:
    folder = dataset(tmp_path / "data")
    file = folder / "meta/info.json"
    name = "observation.images.image_0"
    file.write_text(file.read_text().replace(name, "observation.images./../../.."))
    table = folder / "meta/episodes/chunk-000/file-000.parquet"
    rows = pq.read_table(table)
    pq.write_table(
        rows.rename_columns([each.replace(name, "observation.images./../../..") for each in rows.column_names]), table
    )
    assert "a path inside" in refusal(read_all(folder), file)


@VERSIONS
def test_files_may_be_links_into_a_cache(tmp_path: Path, version: str) -> None:
    # As the hub's client keeps them: a snapshot of links to files named by their content.
    folder, cache = dataset(tmp_path / "data", version), tmp_path / "blobs"
    cache.mkdir()
    for number, file in enumerate(path for path in folder.rglob("*") if path.is_file()):
        file.rename(cache / str(number))
        file.symlink_to(cache / str(number))
    read_all(folder)()


@pytest.mark.parametrize("name", ["meta/info.json", "meta/episodes.jsonl", "meta/tasks.jsonl"])
def test_a_pipe_in_the_place_of_metadata_is_not_waited_for(tmp_path: Path, name: str) -> None:
    folder = dataset(tmp_path / "data", "v2.1")
    (folder / name).unlink()
    os.mkfifo(folder / name)
    assert "expected a file" in refusal(read_all(folder), folder / name)


# --- numbers and texts ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", ["[" * 200_000, '{"a":' * 200_000, "9" * 100_000, "[" + "1," * 5_000_000 + "1]"])
def test_metadata_that_are_deep_or_long_are_refused(tmp_path: Path, content: str) -> None:
    folder = dataset(tmp_path / "data")
    (folder / "meta/info.json").write_text(content)
    assert "expected" in refusal(read_all(folder), folder / "meta/info.json")


@pytest.mark.parametrize("key", ["fps", "total_episodes", "total_frames"])
@pytest.mark.parametrize("value", ["NaN", "Infinity", "1e999", "9" * 4000, "-1", "null", "[]"])
def test_numbers_that_are_none_are_refused(tmp_path: Path, key: str, value: str) -> None:
    folder = dataset(tmp_path / "data", **{key: "@"})
    file = folder / "meta/info.json"
    file.write_text(file.read_text().replace('"@"', value))
    refusal(read_all(folder), file)


@pytest.mark.parametrize("key", ["episode_index", "length"])
@pytest.mark.parametrize("value", [-1, 2**31 + 1, 10**18, 10**400, None, 1e300])
def test_episodes_of_impossible_numbers_are_refused(tmp_path: Path, key: str, value: Any) -> None:
    folder = dataset(tmp_path / "data", "v2.1")
    file = folder / "meta/episodes.jsonl"
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    rows[1][key] = value
    file.write_text("\n".join(map(json.dumps, rows)))
    refusal(read_all(folder), folder)


@VERSIONS
def test_an_instruction_of_ten_megabytes_is_refused(tmp_path: Path, version: str) -> None:
    folder = tmp_path / "data"
    write_bridge_dataset(folder, episodes=1, frames=3, size=(16, 16), version=version, instructions=["x" * 10_000_000])
    line = refusal(read_all(folder), folder)
    assert "at most 1000 characters" in line or "at most 8000000 bytes" in line


# --- tables -----------------------------------------------------------------------------------------------------------


def write_table(file: Path, **columns: Any) -> Path:
    table = pa.table(columns)
    told = [name for name, column in columns.items() if isinstance(column, pa.DictionaryArray)]
    with pq.ParquetWriter(file, table.schema, compression="zstd", use_dictionary=told, store_schema=False) as writer:
        writer.write_table(table)
    return file


def repeated(value: Any, rows: int) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int32)), pa.array([value]))


def read_whole(file: Path) -> Callable[[], object]:
    def read() -> None:
        table = open_table(file)
        read_rows_of(file, table, range(table.num_row_groups), table.schema_arrow.names)

    return read


def test_one_long_text_in_a_hundred_thousand_rows_is_not_written_out(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv(VARIABLE, "episode_bytes=1e8")
    file = write_table(tmp_path / "bomb.parquet", task=repeated("x" * 1_000_000, 100_000))
    assert file.stat().st_size < 1000
    assert "bytes of rows" in refusal(read_whole(file), file)


def test_a_page_that_unpacks_to_more_than_any_is_not_unpacked(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv(VARIABLE, "chunk_bytes=1e7")
    file = write_table(tmp_path / "bomb.parquet", picture=pa.array([bytes(11_000_000)]))
    assert file.stat().st_size < 10_000
    assert "bytes in a page" in refusal(read_whole(file), file)


def test_more_rows_than_any_table_has_are_refused(tmp_path: Path) -> None:
    file = write_table(tmp_path / "bomb.parquet", episode_index=repeated(0, 25_000_000))
    assert file.stat().st_size < 200_000
    assert "at most 20000000 rows" in refusal(read_whole(file), file)


def test_one_row_of_very_many_numbers_is_refused(tmp_path: Path) -> None:
    numbers = pa.array(np.zeros(25_000_000, np.float32))
    file = write_table(tmp_path / "bomb.parquet", action=pa.ListArray.from_arrays([0, len(numbers)], numbers))
    assert "values in a row group" in refusal(read_whole(file), file)


def test_a_data_set_with_such_tables_is_refused_by_their_name(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv(VARIABLE, "episode_bytes=1e7")
    folder = dataset(tmp_path / "data")
    file = folder / "meta/tasks.parquet"
    write_table(file, task_index=np.arange(1000), task=repeated("x" * 100_000, 1000))
    assert "bytes of rows" in refusal(read_all(folder), file)


def test_tables_of_every_kind_of_page_are_read_as_they_are(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    table = pa.table(
        {
            "number": random.integers(0, 5, 5000),
            "text": [f"text {number % 7}" * (number % 50) for number in range(5000)],
            "maybe": [None if number % 3 else number for number in range(5000)],
            "row": [list(map(float, range(number % 4))) for number in range(5000)],
            "picture": [{"bytes": random.bytes(2000), "path": None} for _ in range(5000)],
        }
    )
    for number, options in enumerate(
        [
            {},
            {"data_page_version": "2.0", "compression": "zstd"},
            {"use_dictionary": False, "compression": "gzip", "row_group_size": 700},
            {"write_statistics": True, "write_page_index": True, "data_page_size": 1000, "compression": "brotli"},
            {"write_page_checksum": True, "compression": "none"},
        ]
    ):
        file = tmp_path / f"{number}.parquet"
        pq.write_table(table, file, **options)
        opened = open_table(file)
        read = read_rows_of(file, opened, range(opened.num_row_groups), table.column_names)
        assert read.combine_chunks().equals(table.combine_chunks())


# --- pictures ---------------------------------------------------------------------------------------------------------


def png_of_zeros(width: int, height: int) -> bytes:
    """A grey png, all black, written row by row."""
    packer = zlib.compressobj(9)
    row = bytes(width + 1)
    data = b"".join([*(packer.compress(row) for _ in range(height)), packer.flush()])

    def part(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + part(b"IHDR", head) + part(b"IDAT", data) + part(b"IEND", b"")


def jpeg_that_says(width: int, height: int) -> bytes:
    data = bytearray(cv2.imencode(".jpg", np.zeros((8, 8, 3), np.uint8))[1].tobytes())
    place = data.index(b"\xff\xc0")
    struct.pack_into(">HH", data, place + 5, height, width)
    return bytes(data)


@pytest.mark.parametrize("content", [png_of_zeros(16_000, 12_000), jpeg_that_says(65_000, 65_000)], ids=["png", "jpg"])
def test_a_picture_larger_than_any_is_not_decoded(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "1.png").write_bytes(content)
    line = refusal(lambda: list(open_recording(tmp_path, frame_rate=5.0)), tmp_path / "1.png")
    assert "at most 33554432 pixels" in line and len(content) < 1_000_000


def test_a_tolerant_reader_leaves_such_a_picture_out_and_says_so(tmp_path: Path) -> None:
    (tmp_path / "1.png").write_bytes(png_of_zeros(16_000, 12_000))
    (tmp_path / "2.png").write_bytes(png_of_zeros(16, 12))
    problems: list[str] = []
    assert len(list(open_recording(tmp_path, frame_rate=5.0, on_bad_frame=problems.append))) == 1
    assert len(problems) == 1 and "pixels" in problems[0] and "1.png" in problems[0]


def test_a_jpeg_of_thousands_of_scans_is_no_picture(tmp_path: Path) -> None:
    whole = cv2.imencode(".jpg", np.zeros((8, 8, 3), np.uint8), [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1].tobytes()
    place = whole.index(b"\xff\xda")
    (tmp_path / "1.jpg").write_bytes(whole[:place] + whole[place:-2] * 1000 + whole[-2:])
    assert "readable png or jpg" in refusal(lambda: list(open_recording(tmp_path, frame_rate=5.0)), tmp_path)


@pytest.mark.parametrize("suffix", [".bmp", ".tiff", ".webp"])
def test_other_kinds_of_pictures_are_none(tmp_path: Path, suffix: str) -> None:
    (tmp_path / "1.png").write_bytes(cv2.imencode(suffix, np.zeros((8, 8, 3), np.uint8))[1].tobytes())
    assert "readable png or jpg" in refusal(lambda: list(open_recording(tmp_path, frame_rate=5.0)), tmp_path)


@pytest.mark.parametrize("options", [[], [cv2.IMWRITE_JPEG_PROGRESSIVE, 1], [cv2.IMWRITE_JPEG_RST_INTERVAL, 2]])
def test_the_size_of_a_jpeg_is_read_from_its_head(options: list[int]) -> None:
    content = cv2.imencode(".jpg", np.zeros((30, 50, 3), np.uint8), options)[1].reshape(-1)
    comment = np.frombuffer(b"\xff\xd8\xff\xfe\x00\x06\xff\xc0\x00\x01\xff", np.uint8)
    assert picture_size(content) == (50, 30)
    assert picture_size(np.concatenate([comment, content[2:]])) == (50, 30)


def test_a_table_of_stamps_names_pictures_of_its_own_folder_alone(tmp_path: Path) -> None:
    (tmp_path / "secret.png").write_bytes(png_of_zeros(4, 4))
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name in ("../secret.png", str(tmp_path / "secret.png")):
        (folder / "timestamps.csv").write_text(f"1700000000000000000,{name}\n")
        assert "a path inside" in refusal(lambda: list(open_recording(folder)), folder)


def test_an_episode_of_pictures_that_do_not_fit_is_refused_at_the_first(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv(VARIABLE, "episode_bytes=20000")
    frames, content = 30, png_of_zeros(64, 64)
    folder = dataset(tmp_path / "data", total_episodes=1, total_frames=frames)
    info = json.loads((folder / "meta/info.json").read_text())
    info["features"]["observation.images.image_0"]["dtype"] = "image"
    (folder / "meta/info.json").write_text(json.dumps(info))
    rows = {"episode_index": [0], "length": [frames], "data/chunk_index": [0], "data/file_index": [0]}
    pq.write_table(pa.table(rows), folder / "meta/episodes/chunk-000/file-000.parquet")
    data = folder / "data/chunk-000/file-000.parquet"
    write_table(
        data,
        **{"observation.images.image_0": pa.array([{"bytes": content, "path": None}] * frames)},
        action=pa.array([[0.0] * 7] * frames),
        episode_index=[0] * frames,
        task_index=[0] * frames,
    )
    assert f"bytes of {frames} pictures" in refusal(read_all(folder), data)


# --- videos -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def video(tmp_path: Path) -> Path:
    path = tmp_path / "video.mp4"
    with VideoWriter(path, fps=10.0) as writer:
        for shade in range(6):
            writer.write(np.full((48, 64, 3), shade * 20, np.uint8))
    return path


def read_video(path: Path) -> Callable[[], object]:
    return lambda: list(open_recording(path))


@pytest.mark.parametrize("table", [b"stsz", b"stts", b"stsc", b"elst"])
def test_a_video_that_says_it_has_millions_of_samples_is_refused(video: Path, table: bytes) -> None:
    content = bytearray(video.read_bytes())
    place = content.index(table) + {b"stsz": 12}.get(table, 8)
    struct.pack_into(">I", content, place, 80_000_000)
    if table == b"stsz":  # all of one size: then the file need not have a table of them
        struct.pack_into(">I", content, place - 4, 1)
    video.write_bytes(content)
    assert "samples in" in refusal(read_video(video), video)


def test_frames_larger_than_any_are_not_decoded(video: Path, monkeypatch) -> None:
    monkeypatch.setenv(VARIABLE, "picture_pixels=3071")  # one less than they have
    assert "pixels a frame" in refusal(read_video(video), video)
    assert "pixels a frame" in refusal(lambda: read_frames(video, 0.0, 6, 10.0), video)


@pytest.mark.parametrize(
    "content",
    ["#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n{}\n#EXT-X-ENDLIST\n", "ffconcat version 1.0\nfile {}\n"],
)
@pytest.mark.parametrize("suffix", ["mp4", "m3u8", "txt"])
def test_a_list_that_names_other_files_is_no_video(video: Path, content: str, suffix: str) -> None:
    file = video.parent / f"list.{suffix}"
    file.write_text(content.format(video.name))
    assert "cannot be read" in refusal(read_video(file), file)


def test_an_episode_of_a_video_that_does_not_fit_is_not_decoded(video: Path) -> None:
    line = refusal(lambda: read_frames(video, 0.0, 10_000_000, 10.0), video)
    assert "bytes of 10000000 frames" in line


def test_frames_before_the_wanted_ones_are_decoded_up_to_a_number(video: Path, monkeypatch) -> None:
    assert len(read_frames(video, 0.4, 2, 10.0)) == 2
    monkeypatch.setenv(VARIABLE, "video_lead_frames=1")
    assert "found 0 of them" in refusal(lambda: read_frames(video, 0.4, 2, 10.0), video)


def test_the_training_says_the_same_line_as_the_reader(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = dataset(tmp_path / "data", data_path="{file_index:2000000000}")
    expected = refusal(read_all(folder), folder)
    config = tmp_path / "train.yaml"
    config.write_text(f"output: {tmp_path / 'run'}\nsteps: 1\ndata: {{paths: [{folder}]}}\n")
    with pytest.raises(SystemExit) as ended:
        cli.main(["train", "--config", str(config)])
    assert ended.value.code == 2
    assert capsys.readouterr().err.strip().splitlines()[-1] == f"error: {expected}"
