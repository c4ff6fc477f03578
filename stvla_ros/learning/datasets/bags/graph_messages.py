"""What a bag of the live graph says, without the pictures."""

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from stvla_ros.control.actions import EndEffectorAction
from stvla_ros.errors import InputError
from stvla_ros.perception.frame_pairs import DEPTHS, PICTURES, FramePairs
from stvla_ros.recordings.bag import Bag, BagTopic
from stvla_ros.recordings.bag_topics import NONE, BagTopics, CameraTopics, choose, choose_camera

_COMMAND_TYPE = "stvla_ros/msg/EndEffectorCommand"
_STATE_TYPE = "stvla_ros/msg/EpisodeState"
_CHUNK_TYPE = "stvla_ros/msg/ActionChunk"
_VERDICT_TYPE = "stvla_ros/msg/CommandVerdict"


class SentCommand(NamedTuple):
    """:param recorded_ns: time of its recording, in the recorder's clock.
    :param goal: id of the goal that it belongs to; empty if there is none.
    """

    action: EndEffectorAction
    recorded_ns: int
    goal: bytes


@dataclass(frozen=True)
class GraphTopics:
    """Names of a bag's topics, with their leading slash; empty: chosen automatically.

    :param camera: pictures, calibration and depth.
    :param episode_state: ``none``: it is not read.
    """

    camera: BagTopics = BagTopics()
    command: str = ""
    episode_state: str = ""


@dataclass
class GraphMessages:
    """What the bag says, by stamp (ns) where it has one.

    :param topics: names of those that were read, for ``read_bag``.
    :param verdicts: whether the robot executed each command, by goal and stamp, in the commands' order.
    """

    topics: BagTopics
    frames: list[int] = field(default_factory=list)
    with_depth: set[int] = field(default_factory=set)
    lone: str = ""
    commands: dict[int, list[SentCommand]] = field(default_factory=lambda: defaultdict(list))
    states: list[tuple[int, Any]] = field(default_factory=list)
    verdicts: dict[tuple[bytes, int], list[bool]] = field(default_factory=lambda: defaultdict(list))
    base_frame: str = ""
    robot: str = ""
    period_ns: int = 0
    repeated_stamps: int = 0


def read_messages(bag: Bag, topics: GraphTopics, pairs: FramePairs) -> GraphMessages:
    """
    :param topics: names of the topics to read.
    :param pairs: pairing of the stamps of pictures and depths.
    :raises InputError: without pictures or commands, where several topics could be meant, and for a bad command.
    """
    camera = choose_camera(bag, topics.camera)
    command = choose(bag, "command", topics.command, _COMMAND_TYPE, camera.image)
    if command is None:
        raise InputError(
            f"bag {bag.path}: expected a topic of type {_COMMAND_TYPE}, found none; its topics: {bag.content()}"
        )
    state = None
    if topics.episode_state != NONE:
        state = choose(bag, "episode_state", topics.episode_state, _STATE_TYPE, camera.image)
    return _read(bag, camera, (command, state, *_of_command(bag, command)), pairs)


def read_episode_states(bag: Bag) -> list[tuple[int, Any]]:
    """All messages of ``episode_state`` with their stamps (ns); none of a bag without, or with several such topics."""
    topics = bag.of_type(_STATE_TYPE)
    if len(topics) != 1:
        return []
    states: list[tuple[int, Any]] = []
    for topic, _, data in bag.messages(topics):
        message: Any = bag.deserialize(data, topic.msgtype)
        states.append((message.header.stamp.sec * 1_000_000_000 + message.header.stamp.nanosec, message))
    return states


def _of_command(bag: Bag, command: BagTopic) -> list[BagTopic]:
    """The chunks that the commands are of, and what became of them: those beside them where there are several. All
    chunks have one period, so that any will do; of verdicts of others none is taken.
    """
    found = []
    for kind, name in ((_CHUNK_TYPE, "action_chunk"), (_VERDICT_TYPE, "command_verdict")):
        topics = bag.of_type(kind)
        beside = [topic for topic in topics if topic.topic == f"{command.topic.rpartition('/')[0]}/{name}"]
        found += beside or (topics[:1] if kind == _CHUNK_TYPE or len(topics) == 1 else [])
    return found


def _read(
    bag: Bag,
    camera: CameraTopics,
    others: tuple[BagTopic | None, ...],
    pairs: FramePairs,
) -> GraphMessages:
    """:param others: commands, states, and what belongs to the commands."""
    names = BagTopics(
        camera.image.topic,
        camera.camera_info.topic if camera.camera_info else NONE,
        camera.depth.topic if camera.depth else NONE,
    )
    found = GraphMessages(names)
    command, state, *_ = others
    wanted = [topic for topic in (camera.image, camera.depth, *others) if topic]
    for topic, recorded_ns, data in bag.messages(wanted):
        message: Any = bag.deserialize(data, topic.msgtype)
        stamp = message.header.stamp.sec * 1_000_000_000 + message.header.stamp.nanosec
        if topic == camera.image:
            stamp = stamp or recorded_ns
            if camera.depth:
                found.with_depth.update(picture for picture, _ in pairs.add(PICTURES, stamp, stamp))
            if found.frames and stamp <= found.frames[-1]:
                found.repeated_stamps += 1
            else:
                found.frames.append(stamp)
        elif topic == camera.depth:
            stamp = stamp or recorded_ns
            found.with_depth.update(picture for picture, _ in pairs.add(DEPTHS, stamp, stamp))
        elif topic == command:
            found.base_frame = message.header.frame_id
            # Older recordings have no robot in their commands.
            found.robot = str(getattr(message, "robot", ""))
            try:
                found.commands[stamp].append(SentCommand(_action(message), recorded_ns, _goal(message)))
            except InputError as error:
                raise InputError(f"bag {bag.path}, topic {command.topic}, stamp {stamp}: {error}") from None
        elif topic == state:
            found.states.append((stamp, message))
        elif topic.msgtype == _VERDICT_TYPE:
            found.verdicts[_goal(message), stamp].append(bool(message.executed))
        else:
            found.period_ns = message.period.sec * 1_000_000_000 + message.period.nanosec
    found.lone = pairs.lone()
    return found


def _action(message: Any) -> EndEffectorAction:
    t, r = message.translation, message.rotation
    return EndEffectorAction(np.array([t.x, t.y, t.z]), np.array([r.x, r.y, r.z]), message.gripper)


def _goal(message: Any) -> bytes:
    """Recordings from before commands named their goal are of one."""
    goal = getattr(message, "goal_id", None)
    return b"" if goal is None else bytes(bytearray(goal.uuid))
