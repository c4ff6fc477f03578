"""An open bag: its topics and messages, of whatever kind its files are."""

from collections.abc import Collection, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

from rosbags.highlevel import AnyReader
from rosbags.interfaces import Connection

IMAGE_TYPE = "sensor_msgs/msg/Image"
COMPRESSED_TYPE = "sensor_msgs/msg/CompressedImage"
CAMERA_INFO_TYPE = "sensor_msgs/msg/CameraInfo"
# Name of the record of MCAP's metadata in which a recorder of this package describes its run: topics by their names in
# the graph, and the instruction.
RUN, INSTRUCTION = "stvla_ros", "instruction"
ROLES = ("image", "camera_info", "sensor_depth", "command", "episode_state")
# Number of a bag's topics that a message names.
_MOST_NAMED = 12


class BagTopic(NamedTuple):
    """A topic with one type, however many publishers, channels and files it is in.

    :param topic: name with its leading slash.
    :param msgtype: type of its messages, such as sensor_msgs/msg/Image.
    :param msgcount: number of messages.
    """

    topic: str
    msgtype: str
    msgcount: int


class Bag:
    """
    :param path: path of the bag, for messages.
    :param reader: opened reader of the bag.
    :ivar topics: topics whose messages can be read, in the bag's order.
    :ivar left_out: reason why a topic's messages cannot be read, by topic.
    :ivar roles: names of topics by their names in the graph (``image``, ``command``, …), as the recorder wrote them
        down; empty if it did not.
    :ivar instruction: instruction that the run was started with, as the recorder wrote it down; empty if it did not.
    """

    def __init__(self, path: Path, reader: AnyReader) -> None:
        self.path = path
        self._reader = reader
        self._connections: dict[tuple[str, str], list[Connection]] = {}
        self.left_out: dict[str, str] = {}
        problems: dict[str, str] = {}
        self.roles: dict[str, str] = {}
        for file in _files(reader):
            problems |= getattr(file, "problems", {})
            self.roles |= getattr(file, "run", {})
        self.instruction = self.roles.pop(INSTRUCTION, "")
        for connection in reader.connections:
            # A topic of ROS 1 may lack its slash: names are relative there.
            name = connection.topic if connection.topic.startswith("/") else f"/{connection.topic}"
            encoding = getattr(connection.ext, "serialization_format", "cdr")
            if encoding != "cdr":
                self.left_out[name] = f"is {encoding or 'of no stated encoding'}, no ROS 2 message"
            elif connection.msgtype not in reader.typestore.fielddefs:
                self.left_out[name] = problems.get(connection.topic, f"the bag does not define {connection.msgtype}")
            else:
                self._connections.setdefault((name, connection.msgtype), []).append(connection)
        self.topics = [
            BagTopic(name, kind, sum(each.msgcount for each in of_topic))
            for (name, kind), of_topic in self._connections.items()
        ]

    def of_type(self, *msgtypes: str) -> list[BagTopic]:
        """The topics of these types that have messages."""
        return [each for each in self.topics if each.msgtype in msgtypes and each.msgcount]

    def messages(self, topics: Collection[BagTopic] | None = None) -> Iterator[tuple[BagTopic, int, bytes]]:
        """Each message with its topic, the time of its recording (ns) and its bytes, in the order of the times.

        :param topics: some of the bag's topics; None for all.
        """
        wanted = self.topics if topics is None else topics
        connections = [each for topic in wanted for each in self._connections[topic[:2]]]
        if not connections:
            return
        by_name = {topic[:2]: topic for topic in wanted}
        for connection, recorded_ns, data in self._reader.messages(connections=connections):
            name = connection.topic if connection.topic.startswith("/") else f"/{connection.topic}"
            yield by_name[name, connection.msgtype], recorded_ns, data

    def deserialize(self, data: bytes, msgtype: str) -> Any:
        """The message with ROS 2's names of its fields."""
        message: Any = self._reader.deserialize(data, msgtype)
        if msgtype == CAMERA_INFO_TYPE and hasattr(message, "K"):  # ROS 1's name
            return SimpleNamespace(**{name.lower(): value for name, value in vars(message).items()})
        return message

    def content(self) -> str:
        """The bag's content as text, for a message about something that is missing."""
        there = sorted(f"{each.topic} ({each.msgtype.rpartition('/')[2]})" for each in self.topics if each.msgcount)
        there += sorted(f"{name}, left out ({why})" for name, why in self.left_out.items())
        more = f", and {len(there) - _MOST_NAMED} more" if len(there) > _MOST_NAMED else ""
        return (", ".join(there[:_MOST_NAMED]) + more) or "none"


def _files(reader: AnyReader) -> Iterator[Any]:
    """The readers of the single files."""
    for each in reader.readers:
        storage: Any = getattr(each, "storage", each)
        yield from getattr(storage, "storages", [storage])
