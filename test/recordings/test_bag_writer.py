from pathlib import Path

import numpy as np
import pytest
import yaml
from rosbags.highlevel import AnyReader
from rosbags.typesys import Stores, get_typestore

from stvla_ros.errors import InputError
from stvla_ros.recordings.bag_files import open_bag
from stvla_ros.recordings.bag_writer import BagWriter
from stvla_ros.recordings.message_definitions import MessageDefinitions

STORE = get_typestore(Stores.ROS2_JAZZY)
OWN_TYPES = ("TraceArray", "ActionChunk", "EndEffectorCommand", "EpisodeState")


def text(value: str) -> bytes:
    return bytes(STORE.serialize_cdr(STORE.types["std_msgs/msg/String"](data=value), "std_msgs/msg/String"))


def test_raw_messages_are_read_back_as_they_were(tmp_path: Path) -> None:
    with BagWriter(tmp_path / "bag") as bag:
        bag.add_topic("/a", "std_msgs/msg/String")
        bag.add_topic("/b", "std_msgs/msg/String", reliable=False, latched=True, depth=1)
        for index in range(5):
            bag.write("/a", 1000 + index, text(f"message {index}"))
        bag.write("/b", 2000, text("other"))
        assert (bag.messages, bag.topics) == (6, ["/a", "/b"])
    with AnyReader([tmp_path / "bag"]) as reader:
        read = [(c.topic, time, bytes(data)) for c, time, data in reader.messages()]
        qos = {c.topic: c.ext.offered_qos_profiles[0] for c in reader.connections}
    assert read == [("/a", 1000 + i, text(f"message {i}")) for i in range(5)] + [("/b", 2000, text("other"))]
    assert (qos["/a"].reliability.name, qos["/a"].durability.name, qos["/a"].depth) == ("RELIABLE", "VOLATILE", 10)
    latched = qos["/b"]
    assert (latched.reliability.name, latched.durability.name, latched.depth) == ("BEST_EFFORT", "TRANSIENT_LOCAL", 1)


@pytest.mark.parametrize("name", OWN_TYPES)
def test_our_own_messages_are_defined_in_the_bag(tmp_path: Path, name: str) -> None:
    type_name = f"stvla_ros/msg/{name}"
    with BagWriter(tmp_path / "bag") as bag:
        bag.add_topic("/x", type_name)
        bag.write("/x", 1, b"\x00\x01\x00\x00")
    with AnyReader([tmp_path / "bag"]) as reader:
        assert type_name in reader.typestore.fielddefs


def test_the_type_hashes_are_those_of_ros(tmp_path: Path) -> None:
    # The hash that rosidl computed for the same definition when the messages were generated.
    from stvla_ros.msg import TraceArray

    definitions = MessageDefinitions()
    definitions.add("stvla_ros/msg/TraceArray")
    assert definitions.typestore.hash_rihs01("stvla_ros/msg/TraceArray") == ros_type_hash(TraceArray)


def ros_type_hash(message_type: type) -> str:
    import rclpy
    from rclpy.topic_endpoint_info import TopicEndpointInfo

    rclpy.init()
    try:
        node = rclpy.create_node("hash")
        node.create_publisher(message_type, "hashed", 1)
        info: TopicEndpointInfo = node.get_publishers_info_by_topic("/hashed")[0]
        return str(info.topic_type_hash)
    finally:
        rclpy.shutdown()


def test_an_existing_folder_is_not_overwritten(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected a new folder"):
        BagWriter(tmp_path)


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="file/bag: cannot be written"):
        BagWriter(tmp_path / "file" / "bag")


def test_a_type_without_definition_is_named(tmp_path: Path) -> None:
    with BagWriter(tmp_path / "bag") as bag, pytest.raises(InputError, match="nowhere_msgs/msg/Nothing"):
        bag.add_topic("/x", "nowhere_msgs/msg/Nothing")


def test_a_bag_of_ten_megabytes_is_read_back_whole(tmp_path: Path) -> None:
    picture = np.random.default_rng(0).integers(0, 256, 1_000_000, np.uint8)
    image = STORE.types["sensor_msgs/msg/CompressedImage"]
    head = STORE.types["std_msgs/msg/Header"](stamp=STORE.types["builtin_interfaces/msg/Time"](0, 0), frame_id="")
    data = bytes(STORE.serialize_cdr(image(header=head, format="raw", data=picture), "sensor_msgs/msg/CompressedImage"))
    with BagWriter(tmp_path / "bag") as bag:
        bag.add_topic("/picture", "sensor_msgs/msg/CompressedImage")
        for index in range(10):
            bag.write("/picture", index, data)
    with AnyReader([tmp_path / "bag"]) as reader:
        assert [bytes(read) == data for _, _, read in reader.messages()] == [True] * 10


def test_what_repeats_is_packed_and_a_player_sees_a_plain_bag(tmp_path: Path) -> None:
    dark = text("0" * 1_500_000)
    with BagWriter(tmp_path / "bag") as bag:
        bag.add_topic("/dark", "std_msgs/msg/String")
        for index in range(4):
            bag.write("/dark", index, dark)
    assert (tmp_path / "bag" / "bag.mcap").stat().st_size < 100_000
    with open_bag(tmp_path / "bag") as reader:
        assert [bytes(data) == dark for _, _, data in reader.messages()] == [True] * 4
    # rosbag2 takes any other mode for one of its own, which packs whole messages or files.
    said = yaml.safe_load((tmp_path / "bag" / "metadata.yaml").read_text())["rosbag2_bagfile_information"]
    assert (said["compression_mode"], said["compression_format"], said["storage_identifier"]) == ("", "", "mcap")
