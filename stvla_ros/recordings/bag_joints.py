"""What a bag tells of a robot's joints, and of its model."""

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from stvla_ros.recordings.bag import Bag

JOINT_STATE_TYPE, TEXT_TYPE = "sensor_msgs/msg/JointState", "std_msgs/msg/String"


def read_positions(bag: Bag, topics: Collection[str], names: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """The joints' positions over time, also where each message tells only some of them.

    :param topics: topics that may tell them.
    :param names: names of the joints.
    :returns: stamps (m,) int64 nanoseconds, and positions (m, joints) radians or metres, as soon as every joint has
        said where it is.
    """
    wanted = [topic for topic in bag.of_type(JOINT_STATE_TYPE) if topic.topic in topics]
    known: dict[str, float] = {}
    times: list[int] = []
    rows: list[list[float]] = []
    for topic, recorded_ns, data in bag.messages(wanted) if wanted else ():
        message: Any = bag.deserialize(data, topic.msgtype)
        if len(message.name) != len(message.position) or not np.isfinite(message.position).all():
            continue
        stamp = message.header.stamp.sec * 1_000_000_000 + message.header.stamp.nanosec or recorded_ns
        known.update(zip(message.name, map(float, message.position), strict=True))
        if all(name in known for name in names) and (not times or stamp >= times[-1]):
            times.append(stamp)
            rows.append([known[name] for name in names])
    return np.array(times, np.int64), np.array(rows)


def first_text(bag: Bag, topics: Collection[str]) -> str:
    """The first message of the topics with texts, such as ``robot_description``; empty where there is none."""
    wanted = [topic for topic in bag.of_type(TEXT_TYPE) if topic.topic in topics]
    for topic, _, data in bag.messages(wanted) if wanted else ():
        return str(bag.deserialize(data, topic.msgtype).data)
    return ""
