"""Bags that other programs than rosbag2 wrote, or that came here in parts."""

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rosbags.rosbag1 import Writer as Ros1Writer
from rosbags.rosbag2 import StoragePlugin
from rosbags.typesys import Stores, get_typestore
from test_bag_reader import STAMPS, STORE, camera_info, image, rgb_picture, rgbd_bag

from stvla_ros.errors import InputError
from stvla_ros.recordings.bag_files import open_bag
from stvla_ros.recordings.bag_topics import BagTopics
from stvla_ros.recordings.open_recording import open_recording
from stvla_ros.recordings.unpacking import zstd
from stvla_ros.safe_files import VARIABLE

IMAGE = "sensor_msgs/msg/Image"
ROS1 = get_typestore(Stores.ROS1_NOETIC)


def stamps_of(path: Path, **options: Any) -> list[int]:
    return [frame.stamp_ns for frame in open_recording(path, **options)]


def text(value: str | bytes) -> bytes:
    data = value.encode() if isinstance(value, str) else value
    return struct.pack("<I", len(data)) + data


def record(opcode: int, content: bytes) -> bytes:
    return struct.pack("<BQ", opcode, len(content)) + content


class Mcap:
    """An MCAP file record by record.

    :param profile: of the header.
    :param chunked: messages are in chunks of one each.
    :param indexed: the summary has the chunks' index.
    :param described: the summary repeats schemas and channels.
    """

    def __init__(self, profile: str = "ros2", chunked: bool = True, indexed: bool = False, described: bool = False):
        self._head = b"\x89MCAP0\r\n" + record(0x01, text(profile) + text("x"))
        self._chunked, self._indexed, self._described = chunked, indexed, described
        self._definitions: list[bytes] = []
        self._body = b""
        self._index: list[bytes] = []

    def channel(self, topic: str, encoding: str, schema: tuple[str, str, bytes] | None) -> int:
        number = len(self._definitions) + 1
        made = b""
        if schema:
            name, kind, data = schema
            made = record(0x03, struct.pack("<H", number) + text(name) + text(kind) + text(data))
        head = struct.pack("<HH", number, number if schema else 0)
        made += record(0x04, head + text(topic) + text(encoding) + text(b""))
        self._definitions.append(made)
        self._body += made
        return number

    def pictures(self, topic: str = "/cam/image") -> int:
        return self.channel(topic, "cdr", (IMAGE, "ros2msg", STORE.generate_msgdef(IMAGE, ros_version=2)[0].encode()))

    def message(self, channel: int, time_ns: int, data: bytes) -> "Mcap":
        said = record(0x05, struct.pack("<HIQQ", channel, 0, time_ns, time_ns) + data)
        if self._chunked:
            place = len(self._head) + len(self._body)
            sizes = text("") + struct.pack("<Q", len(said))
            chunk = record(0x06, struct.pack("<QQQI", time_ns, time_ns, len(said), 0) + sizes + said)
            told = struct.pack("<QQQQ", time_ns, time_ns, place, len(chunk)) + struct.pack("<IQ", 0, 0)
            self._index.append(record(0x08, told + text("") + struct.pack("<QQ", len(said), len(said))))
            said = chunk
        self._body += said
        return self

    def write(self, file: Path) -> Path:
        summary = b"".join(self._definitions) * self._described + b"".join(self._index) * self._indexed
        begin = len(self._head) + len(self._body) + 13 if summary else 0
        end = record(0x0F, bytes(4)) + summary + record(0x02, struct.pack("<QQI", begin, 0, 0)) + b"\x89MCAP0\r\n"
        file.write_bytes(self._head + self._body + end)
        return file


def picture(stamp: int) -> bytes:
    return bytes(STORE.serialize_cdr(image(stamp, rgb_picture(stamp % 97), "rgb8"), IMAGE))


def camera(mcap: Mcap, stamps: tuple[int, ...] = STAMPS) -> Mcap:
    channel = mcap.pictures()
    for stamp in stamps:
        mcap.message(channel, stamp, picture(stamp))
    return mcap


@pytest.mark.parametrize("described", [False, True], ids=["channels in the data alone", "channels in the summary"])
@pytest.mark.parametrize("indexed", [False, True], ids=["no index", "index"])
@pytest.mark.parametrize("chunked", [False, True], ids=["loose", "chunks"])
@pytest.mark.parametrize("profile", ["ros2", "", "of-another-program"])
def test_a_file_is_read_whatever_its_summary_and_profile_leave_out(
    tmp_path: Path, profile: str, chunked: bool, indexed: bool, described: bool
) -> None:
    file = camera(Mcap(profile, chunked, indexed, described)).write(tmp_path / "a.mcap")
    assert stamps_of(file) == list(STAMPS)


@pytest.mark.parametrize("indexed", [False, True])
@pytest.mark.parametrize("chunked", [False, True])
def test_messages_come_in_the_order_of_their_times(tmp_path: Path, chunked: bool, indexed: bool) -> None:
    mixed = (STAMPS[1], STAMPS[0], STAMPS[2])
    assert stamps_of(camera(Mcap(chunked=chunked, indexed=indexed), mixed).write(tmp_path / "a.mcap")) == list(STAMPS)


STRANGERS: dict[str, tuple[str, tuple[str, str, bytes] | None, str]] = {
    "protobuf": ("protobuf", ("foxglove.Log", "protobuf", b"\x0a\x03abc"), "is protobuf, no ROS 2 message"),
    "json": ("json", ("Status", "jsonschema", b"{}"), "is json, no ROS 2 message"),
    "flatbuffer": ("flatbuffer", ("Status", "flatbuffer", b"x"), "is flatbuffer, no ROS 2 message"),
    "ros1": ("ros1", ("std_msgs/String", "ros1msg", b"string data\n"), "is ros1, no ROS 2 message"),
    "without schema": ("", None, "of no stated encoding"),
    "a schema of a kind to come": ("cdr", ("a/msg/B", "dds-xtypes", b"x"), "does not define a/msg/B"),
    "a definition that is none": ("cdr", ("a/msg/B", "ros2msg", b"= = 5 (\n"), "a/msg/B"),
    "an idl that is none": ("cdr", ("a/msg/B", "ros2idl", b"module a { struct"), ""),
}


@pytest.mark.parametrize("encoding, schema, why", STRANGERS.values(), ids=STRANGERS)
@pytest.mark.parametrize("summary", [False, True])
def test_channels_that_are_no_messages_of_ros_2_are_left_out(
    tmp_path: Path, encoding: str, schema: tuple[str, str, bytes] | None, why: str, summary: bool
) -> None:
    mcap = Mcap(indexed=summary, described=summary)
    stranger = mcap.channel("/strange", encoding, schema)
    mcap.message(stranger, STAMPS[0] - 5, b"\0\1\0\0\1")
    file = camera(mcap).message(stranger, STAMPS[2] + 5, b"\0\1\0\0\1").write(tmp_path / "a.mcap")
    assert stamps_of(file) == list(STAMPS)
    with open_bag(file) as bag:
        assert list(bag.left_out) == ["/strange"] and why in bag.left_out["/strange"]


def test_a_file_of_strangers_alone_says_what_it_has(tmp_path: Path) -> None:
    mcap = Mcap(profile="")
    mcap.message(mcap.channel("/fox/image", "protobuf", ("foxglove.Image", "protobuf", b"x")), 1, b"x")
    with pytest.raises(InputError, match="found none; its topics: /fox/image, left out .is protobuf, no ROS 2 message"):
        stamps_of(mcap.write(tmp_path / "a.mcap"))


# --- ROS 1 ------------------------------------------------------------------------------------------------------------


def ros1_message(message: Any) -> Any:
    """A message of ROS 2 as ROS 1 has it: a header with a number, and other names in the camera's intrinsics."""
    kind = ROS1.types[message.__msgtype__]
    if message.__msgtype__ == "std_msgs/msg/Header":
        return kind(seq=7, stamp=ros1_message(message.stamp), frame_id=message.frame_id)
    lower = {name.lower(): name for name in kind.__dataclass_fields__ if name != "__msgtype__"}
    values = {lower[name]: getattr(message, name) for name in lower if hasattr(message, name)}
    return kind(
        **{name: ros1_message(value) if hasattr(value, "__msgtype__") else value for name, value in values.items()}
    )


def ros1_bag(file: Path, compression: Any = None, slash: str = "/", times: Callable[[int], int] = lambda i: i) -> Path:
    made = Ros1Writer(file)
    if compression is not None:
        made.set_compression(compression)
    with made as writer:
        connections: dict[str, Any] = {}
        for number, (topic, message) in enumerate(rgbd_bag().messages):
            kind, name = message.__msgtype__, topic.replace("/", slash, 1)
            if topic not in connections:
                connections[topic] = writer.add_connection(name, kind, typestore=ROS1)
            writer.write(connections[topic], 10**9 + times(number), ROS1.serialize_ros1(ros1_message(message), kind))
    return file


@pytest.mark.parametrize("slash", ["/", ""])
@pytest.mark.parametrize("compression", [None, "BZ2", "LZ4"])
def test_a_bag_of_ros_1_is_read_with_depth_and_calibration(tmp_path: Path, compression: str | None, slash: str) -> None:
    form = Ros1Writer.CompressionFormat[compression] if compression else None
    frames = list(open_recording(ros1_bag(tmp_path / "demo.bag", form, slash)))
    assert [frame.stamp_ns for frame in frames] == list(STAMPS)
    np.testing.assert_array_equal(frames[1].rgb, rgb_picture(1))
    assert all(frame.depth is not None and frame.camera.intrinsics[0, 0] == 500.0 for frame in frames)


def test_publishers_of_one_topic_are_one_topic(tmp_path: Path) -> None:
    with Ros1Writer(tmp_path / "two.bag") as writer:
        for number, stamp in enumerate(STAMPS):
            connection = writer.add_connection("/cam/image", IMAGE, typestore=ROS1, callerid=f"/driver_{number}")
            message = ros1_message(image(stamp, rgb_picture(number), "rgb8"))
            writer.write(connection, 10**9 + number, ROS1.serialize_ros1(message, IMAGE))
    assert stamps_of(tmp_path / "two.bag") == list(STAMPS)


def test_a_relayed_topic_whose_hash_is_a_star_is_read(tmp_path: Path) -> None:
    file = ros1_bag(tmp_path / "demo.bag")
    content = file.read_bytes()
    begin = content.index(b"md5sum=") + len(b"md5sum=")
    file.write_bytes(content.replace(content[begin : begin + 32], b"*" * 32))
    assert stamps_of(file) == list(STAMPS)


@pytest.mark.parametrize("name", ["demo.bag", "demo.bag.active"])
def test_a_bag_of_ros_1_whose_recorder_was_killed_says_what_to_do(tmp_path: Path, name: str) -> None:
    file = ros1_bag(tmp_path / "whole.bag").rename(tmp_path / name)
    content = bytearray(file.read_bytes())
    place = content.index(b"index_pos=") + len(b"index_pos=")
    content[place : place + 8] = bytes(8)
    file.write_bytes(content)
    with pytest.raises(InputError, match=f"{name}.*no index: `rosbag reindex` makes one"):
        stamps_of(file)


def test_a_bag_of_ros_1_is_unpacked_within_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = ros1_bag(tmp_path / "demo.bag", Ros1Writer.CompressionFormat.BZ2)
    monkeypatch.setenv(VARIABLE, "chunk_bytes=100")
    with pytest.raises(InputError, match="limit chunk_bytes"):
        stamps_of(file)


@pytest.mark.parametrize("kept", [0.1, 0.5, 0.97])
def test_a_bag_of_ros_1_that_is_cut_off_is_named(tmp_path: Path, kept: float) -> None:
    file = ros1_bag(tmp_path / "demo.bag")
    file.write_bytes(file.read_bytes()[: int(file.stat().st_size * kept)])
    with pytest.raises(InputError, match="bag .*demo.bag: cannot be read"):
        stamps_of(file)


# --- files that came alone --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".zstd", ".zst"])
@pytest.mark.parametrize("storage", [StoragePlugin.MCAP, StoragePlugin.SQLITE3])
def test_a_storage_file_that_is_compressed_as_a_whole_is_read(
    tmp_path: Path, storage: StoragePlugin, suffix: str
) -> None:
    rgbd_bag().write(tmp_path / "bag", storage)
    stored = next(file for file in (tmp_path / "bag").iterdir() if file.suffix in (".mcap", ".db3"))
    alone = tmp_path / f"{stored.name}{suffix}"
    alone.write_bytes(zstd.compress(stored.read_bytes()))
    assert stamps_of(alone) == list(STAMPS)
    (tmp_path / "folder").mkdir()
    alone.rename(tmp_path / "folder" / alone.name)
    assert stamps_of(tmp_path / "folder") == list(STAMPS)


def split(folder: Path, names: tuple[str, ...]) -> Path:
    """A recording in parts of one picture each."""
    folder.mkdir()
    for name, stamp in zip(names, STAMPS):
        camera(Mcap(), (stamp,)).write(folder / name)
    return folder


def test_a_split_recording_without_metadata_is_read_in_the_order_of_its_numbers(tmp_path: Path, capsys) -> None:
    folder = split(tmp_path / "bag", ("run_8.mcap", "run_9.mcap", "run_10.mcap"))
    assert stamps_of(folder) == list(STAMPS)
    assert "its 3 files are read as one recording" in capsys.readouterr().err


def test_a_recording_whose_last_part_is_cut_off_is_read_up_to_there(tmp_path: Path) -> None:
    folder = split(tmp_path / "bag", ("run_0.mcap", "run_1.mcap", "run_2.mcap"))
    last = folder / "run_2.mcap"
    last.write_bytes(last.read_bytes()[:-100])
    assert stamps_of(folder) == list(STAMPS[:2])


def test_files_that_are_no_parts_of_one_recording_must_be_chosen_from(tmp_path: Path) -> None:
    folder = split(tmp_path / "bag", ("monday.mcap", "tuesday.mcap"))
    with pytest.raises(InputError, match=r"found monday.mcap, tuesday.mcap: name one of them"):
        stamps_of(folder)
    folder = split(tmp_path / "same", ("run_0.mcap",))
    camera(Mcap(), STAMPS).write(folder / "run_0.mcap")
    camera(Mcap(), tuple(stamp + 5 for stamp in STAMPS)).write(folder / "run_1.mcap")
    camera(Mcap(), (STAMPS[0] - 10**10,)).write(folder / "run_2.mcap")
    with pytest.raises(InputError, match="run_2.mcap begins before run_1.mcap ends: name one"):
        stamps_of(folder)


def test_files_that_were_renamed_are_read_all_the_same(tmp_path: Path, capsys) -> None:
    folder = rgbd_bag().write(tmp_path / "bag")
    (folder / "bag.mcap").rename(folder / "rosbag2_2024_01_01_0.mcap")
    assert stamps_of(folder) == list(STAMPS)
    assert "bag.mcap of its metadata is missing" in capsys.readouterr().err


# --- which topics -----------------------------------------------------------------------------------------------------


def two_cameras(frames: tuple[str, str]) -> Any:
    bag = rgbd_bag()
    bag.messages = [(topic, message) for topic, message in bag.messages if topic == "/camera/image"]
    for side, frame in zip(("left", "right"), frames):
        for number, stamp in enumerate(STAMPS):
            depth = image(stamp, np.full((6, 8), 900 + number, np.uint16), "16UC1")
            info = camera_info(stamp, fx=400.0)
            depth.header.frame_id = info.header.frame_id = frame
            bag.add(f"/{side}/range", depth)
            bag.add(f"/{side}/info", info)
    return bag


def test_depth_and_calibration_of_other_names_are_known_by_the_pictures_frame(tmp_path: Path) -> None:
    frames = list(open_recording(two_cameras(("camera_optical", "elsewhere")).write(tmp_path / "bag")))
    assert all(frame.depth is not None and frame.camera.intrinsics[0, 0] == 400.0 for frame in frames)


def test_several_that_could_be_meant_are_listed(tmp_path: Path) -> None:
    folder = two_cameras(("camera_optical", "camera_optical")).write(tmp_path / "bag")
    with pytest.raises(InputError, match="topic of camera_info to be named, it has several: /left/info, /right/info"):
        stamps_of(folder)
    with pytest.raises(InputError, match="topic of depth to be named, it has several: /left/range, /right/range"):
        stamps_of(folder, topics=BagTopics(camera_info="/left/info"))
    assert stamps_of(folder, topics=BagTopics(camera_info="none", depth="none")) == list(STAMPS)
