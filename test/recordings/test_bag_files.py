"""Bags whose recorder was killed: what was flushed is read."""

from pathlib import Path

import pytest
from rosbags.typesys import Stores, get_typestore

from stvla_ros.errors import InputError
from stvla_ros.recordings.bag_files import open_bag
from stvla_ros.recordings.bag_writer import BagWriter

STORE = get_typestore(Stores.ROS2_JAZZY)


def text(value: str) -> bytes:
    return bytes(STORE.serialize_cdr(STORE.types["std_msgs/msg/String"](data=value), "std_msgs/msg/String"))


def read(path: Path) -> list[str]:
    with open_bag(path) as bag:
        return [bag.deserialize(data, connection.msgtype).data for connection, _, data in bag.messages()]


def killed_recorder(folder: Path) -> tuple[Path, list[str]]:
    """:returns: the bag as it lies on the disk while its writer is still at it, and what was written before a flush."""
    bag = BagWriter(folder / "bag")
    bag.add_topic("/a", "std_msgs/msg/String")
    written = [f"message {index}" for index in range(100)]
    for index, value in enumerate(written):
        bag.write("/a", 1000 + index, text(value))
        if index % 30 == 0:
            bag.flush()
    bag.flush()
    bag.write("/a", 9999, text("not flushed"))
    killed = folder / "killed"
    killed.mkdir()
    (killed / "killed.mcap").write_bytes((folder / "bag" / "bag.mcap").read_bytes())
    bag.close()
    assert read(folder / "bag") == [*written, "not flushed"]
    return killed, written


def test_all_that_was_flushed_is_read_from_a_bag_without_end(tmp_path: Path, capsys) -> None:
    killed, written = killed_recorder(tmp_path)
    assert read(killed) == written
    assert "its end is missing" in capsys.readouterr().err


def test_of_a_record_that_is_cut_in_the_middle_nothing_is_read_and_all_before_it(tmp_path: Path) -> None:
    killed, written = killed_recorder(tmp_path)
    file = killed / "killed.mcap"
    content = file.read_bytes()
    file.write_bytes(content[: len(content) * 3 // 5])
    messages = read(killed)
    assert 0 < len(messages) < len(written) and messages == written[: len(messages)]


def test_what_is_no_mcap_file_is_refused_by_its_name(tmp_path: Path) -> None:
    file = tmp_path / "bag.mcap"
    file.write_bytes(b"something else altogether")
    with pytest.raises(InputError, match=f"bag {file}: expected an MCAP file"):
        read(file)
