"""Bags that are small on the disk and large in memory, or without end."""

import os
import sqlite3
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lz4.frame
import pytest
import yaml
from refusals import refusal
from rosbags.rosbag2 import StoragePlugin
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from test_bag_reader import rgbd_bag

from stvla_ros import cli
from stvla_ros.errors import InputError
from stvla_ros.recordings.open_recording import open_recording
from stvla_ros.recordings.unpacking import check_types, unpack, zstd
from stvla_ros.safe_files import VARIABLE

MAGIC = b"\x89MCAP0\r\n"
GIB = 1 << 30


def read(path: Path) -> Callable[[], object]:
    return lambda: list(open_recording(path))


def text(value: str) -> bytes:
    return struct.pack("<I", len(value)) + value.encode()


def record(opcode: int, content: bytes) -> bytes:
    return struct.pack("<BQ", opcode, len(content)) + content


def zeros(size: int) -> bytes:
    """A zstd frame of so many zeros, made without them being in memory."""
    packer = zstd.ZstdCompressor(1)
    piece = bytes(1 << 20)
    return b"".join([*(packer.compress(piece) for _ in range(size >> 20)), packer.flush()])


def chunk(packed: bytes, unpacked: int, compression: str = "zstd") -> bytes:
    sizes = text(compression) + struct.pack("<Q", len(packed))
    return record(0x06, struct.pack("<QQQI", 0, 1, unpacked, 0) + sizes + packed)


def index(place: int, packed: int, unpacked: int, times: tuple[int, int] = (0, 1), compression: str = "zstd") -> bytes:
    head = struct.pack("<QQQQI", *times, place, 0, 10) + struct.pack("<HQ", 1, place + 1)
    return record(0x08, head + struct.pack("<Q", 47) + text(compression) + struct.pack("<QQ", packed, unpacked))


def mcap(file: Path, *records: bytes, summary: bytes = b"") -> Path:
    head = MAGIC + record(0x01, text("ros2") + text("")) + b"".join(records)
    begin = len(head) + 13 if summary else 0
    end = record(0x0F, bytes(4)) + summary + record(0x02, struct.pack("<QQI", begin, 0, 0)) + MAGIC
    file.write_bytes(head + end)
    return file


FIRST = len(MAGIC) + 9 + 12  # where the first record behind the header begins


def test_a_chunk_that_says_it_has_two_gigabytes_is_not_unpacked(tmp_path: Path) -> None:
    file = mcap(tmp_path / "bomb.mcap", chunk(zeros(2 * GIB), 2 * GIB))
    assert file.stat().st_size < 100_000
    assert "at most 134217728 bytes unpacked" in refusal(read(file), file)


@pytest.mark.parametrize("cut", [False, True])
def test_a_chunk_that_is_larger_than_it_says_is_left_when_it_passes_its_size(tmp_path: Path, cut: bool) -> None:
    file = mcap(tmp_path / "bomb.mcap", chunk(zeros(GIB), 1000))
    if cut:  # by a recorder that was killed
        file.write_bytes(file.read_bytes()[:-20])
    assert "expected at most 1000 bytes after unpacking" in refusal(read(file), file)


def test_an_lz4_chunk_is_bounded_as_well() -> None:
    packed = lz4.frame.compress(bytes(50_000_000))
    with pytest.raises(InputError, match="expected at most 1000 bytes after unpacking"):
        unpack(packed, "lz4", 1000, "chunk")
    assert unpack(lz4.frame.compress(b"abc") + lz4.frame.compress(b"d"), "lz4", 4, "chunk") == b"abcd"


@pytest.mark.parametrize("compression", ["zstd", "lz4"])
def test_a_frame_that_breaks_off_is_refused(compression: str) -> None:
    whole = {"zstd": zstd.compress, "lz4": lz4.frame.compress}[compression](os.urandom(1000))
    with pytest.raises(InputError, match="breaks off"):
        unpack(whole[:-30], compression, 1000, "chunk")


def test_many_chunks_may_not_unpack_to_a_thousand_times_the_file(tmp_path: Path) -> None:
    one = chunk(zeros(100 << 20), 100 << 20)
    file = mcap(tmp_path / "bomb.mcap", *[one] * 20)
    assert "limit unpacked_bytes" in refusal(read(file), file)


def test_an_index_that_names_one_chunk_again_and_again_is_refused(tmp_path: Path) -> None:
    packed = zeros(64 << 20)
    one = index(FIRST, len(packed), 64 << 20)
    file = mcap(tmp_path / "bomb.mcap", chunk(packed, 64 << 20), summary=one * 100)
    assert "one index of each chunk" in refusal(read(file), file)


def test_an_index_that_says_otherwise_than_the_chunk_is_refused(tmp_path: Path) -> None:
    packed = zeros(1 << 20)
    file = mcap(tmp_path / "lie.mcap", chunk(packed, 1 << 20), summary=index(FIRST, len(packed), 1 << 40))
    assert "the chunk's own sizes" in refusal(read(file), file)


def test_chunks_of_the_same_time_are_counted_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "chunk_bytes=1048576")
    packed = zeros(1 << 20)
    one = chunk(packed, 1 << 20)
    apart = [index(FIRST + number * len(one), len(packed), 1 << 20, (number, number)) for number in range(11)]
    together = [index(FIRST + number * len(one), len(packed), 1 << 20) for number in range(11)]
    for entries, refused in ((apart, False), (together, True)):
        file = mcap(tmp_path / "overlap.mcap", *[one] * 11, summary=b"".join(entries))
        assert ("chunks of one time" in refusal(read(file), file)) is refused


def compressed_bag(folder: Path, mode: str, storage: StoragePlugin, data: Callable[[bytes], bytes]) -> Path:
    """A bag whose files or messages are compressed, as by `ros2 bag record --compression-mode`."""
    rgbd_bag().write(folder, storage)
    content = yaml.safe_load((folder / "metadata.yaml").read_text())
    said = content["rosbag2_bagfile_information"]
    said |= {"compression_mode": mode, "compression_format": "zstd"}
    stored = folder / said["relative_file_paths"][0]
    if mode == "file":
        said["relative_file_paths"] = [f"{stored.name}.zstd"]
        (folder / f"{stored.name}.zstd").write_bytes(data(stored.read_bytes()))
        stored.unlink()
    else:
        with sqlite3.connect(stored) as base:
            base.create_function("pack", 1, data)
            base.execute("UPDATE messages SET data = pack(data)")
        base.close()
    (folder / "metadata.yaml").write_text(yaml.safe_dump(content))
    return folder


@pytest.mark.parametrize("storage", [StoragePlugin.MCAP, StoragePlugin.SQLITE3])
def test_a_bag_that_is_compressed_as_a_whole_is_read(tmp_path: Path, storage: StoragePlugin) -> None:
    assert len(list(open_recording(compressed_bag(tmp_path / "bag", "file", storage, zstd.compress)))) == 3


def test_a_bag_of_compressed_messages_is_read(tmp_path: Path) -> None:
    folder = compressed_bag(tmp_path / "bag", "message", StoragePlugin.SQLITE3, zstd.compress)
    assert len(list(open_recording(folder))) == 3


def test_a_compressed_file_is_unpacked_within_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "unpacked_share=1 unpacked_bytes=1e6")
    folder = compressed_bag(tmp_path / "bag", "file", StoragePlugin.MCAP, lambda _: zeros(64 << 20))
    assert "bytes after unpacking" in refusal(read(folder), folder)


def test_a_compressed_message_is_unpacked_within_a_bound(tmp_path: Path) -> None:
    packed = zeros(256 << 20)
    folder = compressed_bag(tmp_path / "bag", "message", StoragePlugin.SQLITE3, lambda _: packed)
    assert "message: expected at most 134217728 bytes" in refusal(read(folder), folder)


def test_what_the_storage_of_a_folder_holds_is_looked_at_too(tmp_path: Path) -> None:
    folder = rgbd_bag().write(tmp_path / "bag")
    mcap(next(folder.glob("*.mcap")), chunk(zeros(2 * GIB), 2 * GIB))
    assert "at most 134217728 bytes unpacked" in refusal(read(folder), folder)


@pytest.mark.parametrize("name", ["bag.mcap", "bag.db3"])
def test_a_pipe_in_the_place_of_a_file_is_not_waited_for(tmp_path: Path, name: str) -> None:
    folder = rgbd_bag().write(tmp_path / "bag", StoragePlugin.SQLITE3 if name.endswith("db3") else StoragePlugin.MCAP)
    (folder / name).unlink()
    os.mkfifo(folder / name)
    assert "expected a" in refusal(read(folder), folder)


ALIASES = "a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n" + "".join(
    f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]\n" for level in range(1, 9)
)
MERGES = "a0: &a0 {x: 1}\n" + "".join(
    f"a{level}: &a{level} {{<<: [{', '.join([f'*a{level - 1}'] * 10)}]}}\n" for level in range(1, 9)
)


@pytest.mark.parametrize("content", [ALIASES, MERGES, "&a [*a]"])
def test_aliases_in_the_metadata_are_counted_before_they_are_followed(tmp_path: Path, content: str) -> None:
    folder = rgbd_bag().write(tmp_path / "bag")
    (folder / "metadata.yaml").write_text(content)
    assert "expected" in refusal(read(folder), folder)


def sqlite(folder: Path, *commands: str) -> Path:
    file = next(rgbd_bag().write(folder, StoragePlugin.SQLITE3).glob("*.db3"))
    with sqlite3.connect(file) as base:
        for command in commands:
            base.execute(command)
    base.close()
    (folder / "metadata.yaml").unlink()
    return file


COLUMNS = "id INTEGER PRIMARY KEY, topic_id INTEGER, timestamp INTEGER"
ENDLESS = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT x FROM n"


@pytest.mark.parametrize(
    ("commands", "said"),
    [
        (("DROP TABLE schema", f"CREATE VIEW schema AS SELECT max(x) AS schema_version FROM ({ENDLESS})"), "view"),
        (
            (
                "DROP TABLE messages",
                f"CREATE TABLE messages ({COLUMNS}, data BLOB AS (zeroblob(1000000000)) VIRTUAL)",
                "INSERT INTO messages (topic_id, timestamp) VALUES (1, 5)",
            ),
            "'data' is computed",
        ),
        (("DROP TABLE schema", "CREATE VIRTUAL TABLE schema USING fts5(schema_version)"), "virtual table"),
    ],
)
def test_a_database_that_computes_what_it_holds_is_refused(tmp_path: Path, commands: tuple, said: str) -> None:
    file = sqlite(tmp_path / "bag", *commands)
    assert said in refusal(read(file), file)


def test_a_tree_of_pages_whose_branches_meet_is_refused(tmp_path: Path) -> None:
    file = sqlite(tmp_path / "bag", *["INSERT INTO messages SELECT NULL, topic_id, timestamp, data FROM messages"] * 8)
    content = bytearray(file.read_bytes())
    size = struct.unpack_from(">H", content, 16)[0]
    with sqlite3.connect(file) as base:
        (root,) = base.execute("SELECT rootpage FROM sqlite_master WHERE name = 'messages'").fetchone()
    base.close()
    page = (root - 1) * size
    assert content[page] == 5  # an inner page of a table
    count = struct.unpack_from(">H", content, page + 3)[0]
    cells = struct.unpack_from(f">{count}H", content, page + 12)
    for cell in cells[1:]:
        content[page + cell : page + cell + 4] = content[page + cells[0] : page + cells[0] + 4]
    file.write_bytes(content)
    assert "whole database" in refusal(read(file), file)


def defined(folder: Path, encoding: str, definition: str) -> Path:
    schema = struct.pack("<H", 1) + text("a/msg/T") + text(encoding) + text(definition)
    channel = struct.pack("<HH", 1, 1) + text("/a") + text("cdr") + struct.pack("<I", 0)
    return mcap(folder / "types.mcap", record(0x03, schema), record(0x04, channel))


@pytest.mark.parametrize(
    "definition",
    [
        "module a { module msg { const long X = " + "(" * 30 + "1" + ")" * 30 + "; struct T { long a; }; }; };",
        "module a { module msg { struct T { " + "sequence<" * 30 + "long" + ">" * 30 + " a; }; }; };",
    ],
)
def test_definitions_that_take_the_parser_for_ever_are_refused(tmp_path: Path, definition: str) -> None:
    file = defined(tmp_path, "ros2idl", definition)
    assert "definition in IDL" in refusal(read(file), file)


@pytest.mark.parametrize("definition", ["E[20000000] x", "string[20000000] x", "F[1000] x"])
def test_messages_that_are_huge_without_data_are_refused(tmp_path: Path, definition: str) -> None:
    rule = "\n" + "=" * 80 + "\nMSG: "
    file = defined(tmp_path, "ros2msg", f"{definition}{rule}a/F\nE[1000] y{rule}a/E\nuint8 z\n")
    assert "at most 100000 elements" in refusal(read(file), file)


def test_the_messages_of_every_day_are_not_huge() -> None:
    check_types(get_typestore(Stores.ROS2_JAZZY))
    store: Any = get_typestore(Stores.EMPTY)
    store.register(get_types_from_msg("uint8[4000000] a\nfloat64[36] b\nstring[9] c", "a/msg/T"))
    check_types(store)


def test_offered_qualities_of_service_are_bounded_yaml(tmp_path: Path) -> None:
    quality = text("offered_qos_profiles") + text(MERGES)
    channel = struct.pack("<HH", 1, 0) + text("/a") + text("cdr") + struct.pack("<I", len(quality)) + quality
    file = mcap(tmp_path / "qos.mcap", record(0x04, channel))
    assert "at most 100000 values" in refusal(read(file), file)


def test_the_command_says_the_same_line_as_the_reader(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = mcap(tmp_path / "bomb.mcap", chunk(zeros(2 * GIB), 2 * GIB))
    expected = refusal(read(file), file)
    with pytest.raises(SystemExit) as ended:
        cli.main(["convert", str(file), "--output", str(tmp_path / "data")])
    assert ended.value.code == 2
    assert capsys.readouterr().err.strip().splitlines() == [f"error: {expected}"]


def test_a_limit_is_raised_by_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = mcap(tmp_path / "large.mcap", chunk(zeros(2 << 20), 2 << 20))
    monkeypatch.setenv(VARIABLE, "chunk_bytes=1e6")
    assert "limit chunk_bytes, STVLA_FILE_LIMITS" in refusal(read(file), file)
    monkeypatch.setenv(VARIABLE, "chunk_bytes=3e6")
    assert "chunk_bytes" not in refusal(read(file), file)
