"""The episodes in a bag of the live graph: stamps, commands and outcomes, without the pictures."""

from collections import Counter, defaultdict, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from rosbags.highlevel import AnyReader
from rosbags.interfaces import Connection

from stvla_ros.control.actions import EndEffectorAction
from stvla_ros.errors import InputError
from stvla_ros.learning.datasets.bags.frames import RecordedEpisode
from stvla_ros.perception.frame_pairs import DEPTHS, PICTURES, FramePairs
from stvla_ros.recordings.bag_files import is_bag, open_bag
from stvla_ros.recordings.bag_reader import COMPRESSED_TYPE, IMAGE_TYPE, PAIRING_WINDOW, BagTopics
from stvla_ros.robots.embodiments import embodiments
from stvla_ros.safe_files import check_instruction

_COMMAND_TYPE = "stvla_ros/msg/EndEffectorCommand"
_STATE_TYPE = "stvla_ros/msg/EpisodeState"
_CHUNK_TYPE = "stvla_ros/msg/ActionChunk"
_UNUSED = "commands left out, of a chunk that a newer one replaced or the episode's end cut"
# EpisodeState.phase (msg/EpisodeState.msg).
_RESETTING, _RUNNING, _SUCCEEDED, _FAILED = 0, 1, 2, 3
# The robots that there were before commands named theirs; several of those of today have a frame called base_link.
_UNNAMED = ("google_robot", "panda", "widowx")


@dataclass
class BagEpisodes:
    """:param topics: topics of the pictures, for ``read_bag``.
    :param robot: name of the embodiment in whose base frame the commands are; empty if unknown.
    :param remarks: frames and commands that are in no episode, counted by reason.
    """

    topics: BagTopics
    robot: str
    episodes: list[RecordedEpisode]
    remarks: Counter[str]


@dataclass
class _Messages:
    """The content of the bag, by stamp (ns) if it has one."""

    frames: list[int] = field(default_factory=list)
    with_depth: set[int] = field(default_factory=set)
    lone: str = ""
    commands: dict[int, list[EndEffectorAction]] = field(default_factory=lambda: defaultdict(list))
    states: list[tuple[int, Any]] = field(default_factory=list)
    base_frame: str = ""
    robot: str = ""
    period_ns: int = 0
    repeated_stamps: int = 0


@dataclass
class _Course:
    """An episode as its states describe it."""

    state: Any
    steps: dict[int, int] = field(default_factory=dict)  # step by stamp of the observation
    ended: bool = False


def find_episodes(path: Path, image: str, instruction: str, tolerance_ns: int | None = None) -> BagEpisodes:
    """:param image: topic of the colour pictures; the graph's other topics are beside it.
    :param instruction: instruction of the only episode of a bag without episode_state; empty if there must be an
        episode_state.
    :param tolerance_ns: largest difference of the stamps of a picture and its depth, see ``read_bag``.
    :raises InputError: for anything but a bag, and for a bag that is damaged or has no pictures, commands or
        instruction.
    """
    if not is_bag(path):
        raise InputError(f"bag {path}: expected a rosbag2 folder or file, there is none")
    # All reading happens in this block: a bag brings its own definitions of types, so any field may be missing or have
    # any type.
    with open_bag(path) as bag:
        topics = _choose(path, bag.connections, image)
        pairs = FramePairs(PAIRING_WINDOW, tolerance_ns)
        messages = _read(path, bag, topics, _beside(image, "command"), _beside(image, "episode_state"), pairs)
        return _put_together(path, topics, messages, instruction)


def _put_together(path: Path, topics: BagTopics, messages: _Messages, instruction: str) -> BagEpisodes:
    remarks = Counter({"frames left out, their stamp repeats or goes back": messages.repeated_stamps})
    if topics.depth:
        with_depth = [stamp for stamp in messages.frames if stamp in messages.with_depth]
        if messages.lone and not with_depth:
            raise InputError(
                f"bag {path}, topics {topics.image} and {topics.depth}: expected pictures with their depths, got "
                f"{messages.lone} (--sync-tolerance)"
            )
        remarks["frames left out, no depth of their time"] = len(messages.frames) - len(with_depth)
        messages.frames = with_depth
    robot = messages.robot
    if robot not in embodiments():
        robot = next((name for name in _UNNAMED if embodiments()[name].base_frame == messages.base_frame), "")
    episodes = list(_episodes(path, messages, instruction, remarks))
    remarks["commands left out, their frame is not recorded"] = len(set(messages.commands) - set(messages.frames))
    return BagEpisodes(topics, robot, episodes, +remarks)


def _beside(image: str, name: str) -> str:
    return f"{image.removesuffix('/compressed').rpartition('/')[0]}/{name}"


def _choose(path: Path, connections: list[Connection], image: str) -> BagTopics:
    recorded = {connection.topic: connection.msgtype for connection in connections if connection.msgcount}
    if recorded.get(image) not in (IMAGE_TYPE, COMPRESSED_TYPE):
        pictures = sorted(topic for topic, kind in recorded.items() if kind in (IMAGE_TYPE, COMPRESSED_TYPE))
        raise InputError(
            f"bag {path}: expected pictures on {image}; it has them on {', '.join(pictures) or 'no topic'}"
        )
    command = _beside(image, "command")
    if recorded.get(command) != _COMMAND_TYPE:
        raise InputError(f"bag {path}: expected a topic {command} of type {_COMMAND_TYPE}, found none")
    camera_info, depth = _beside(image, "camera_info"), _beside(image, "sensor_depth")
    return BagTopics(image, camera_info if camera_info in recorded else "", depth if depth in recorded else "")


def _read(path: Path, bag: AnyReader, topics: BagTopics, command: str, state: str, pairs: FramePairs) -> _Messages:
    found = _Messages()
    wanted = [c for c in bag.connections if c.topic in (topics.image, topics.depth, command, state)]
    chunks = [c for c in bag.connections if c.msgtype == _CHUNK_TYPE]
    for connection, recorded_ns, data in bag.messages(connections=wanted + chunks):
        message: Any = bag.deserialize(data, connection.msgtype)
        stamp = message.header.stamp.sec * 1_000_000_000 + message.header.stamp.nanosec
        if connection.topic == topics.image:
            stamp = stamp or recorded_ns
            if topics.depth:
                found.with_depth.update(picture for picture, _ in pairs.add(PICTURES, stamp, stamp))
            if found.frames and stamp <= found.frames[-1]:
                found.repeated_stamps += 1
            else:
                found.frames.append(stamp)
        elif connection.topic == topics.depth:
            stamp = stamp or recorded_ns
            found.with_depth.update(picture for picture, _ in pairs.add(DEPTHS, stamp, stamp))
        elif connection.topic == command:
            found.base_frame = message.header.frame_id
            # Older recordings have no robot in their commands.
            found.robot = str(getattr(message, "robot", ""))
            try:
                found.commands[stamp].append(_action(message))
            except InputError as error:
                raise InputError(f"bag {path}, topic {command}, stamp {stamp}: {error}") from None
        elif connection.topic == state:
            found.states.append((stamp, message))
        else:
            found.period_ns = message.period.sec * 1_000_000_000 + message.period.nanosec
    found.lone = pairs.lone()
    return found


def _action(message: Any) -> EndEffectorAction:
    t, r = message.translation, message.rotation
    return EndEffectorAction(np.array([t.x, t.y, t.z]), np.array([r.x, r.y, r.z]), message.gripper)


def _episodes(path: Path, messages: _Messages, instruction: str, remarks: Counter[str]) -> Iterator[RecordedEpisode]:
    # The bag of a recorded run is always called `bag`; the name of its folder identifies the run.
    source = {"bag": "/".join(path.resolve().parts[-2:])}
    if not messages.states:
        if not instruction.strip():
            raise InputError(f"bag {path}: expected an instruction to be given, it has no topic episode_state")
        frames = np.array(messages.frames, np.int64)
        actions = _answers(messages.frames, messages.commands, remarks)
        yield RecordedEpisode(f"bag {path}", frames, frames, actions, instruction, source=source)
        return
    courses = list(_courses(messages.states))
    remarks["frames left out, in no episode's course (the one after its last step among them)"] = len(
        set(messages.frames) - {stamp for course in courses for stamp in course.steps}
    )
    for course in courses:
        if not course.ended:
            remarks["episodes left out, the recording ends before they do"] += 1
            continue
        state = course.state
        stamps = _answered_once(course, messages, remarks)
        actions = _answers(stamps, messages.commands, remarks)
        steps = np.array([course.steps[stamp] for stamp in stamps], np.int64)
        yield RecordedEpisode(
            name=f"bag {path}, episode {state.index}",
            stamps=np.array(stamps, np.int64),
            times=steps * messages.period_ns if messages.period_ns else np.array(stamps, np.int64),
            actions=actions,
            instruction=check_instruction(state.instruction, f"bag {path}, episode {state.index}, instruction"),
            fps=1e9 / messages.period_ns if messages.period_ns else 0.0,
            success=state.phase == _SUCCEEDED,
            source={**source, "task": state.task, "episode_id": state.episode_id, "index": state.index},
        )


def _courses(states: list[tuple[int, Any]]) -> Iterator[_Course]:
    course: _Course | None = None
    for stamp, state in states:
        if state.phase == _RESETTING or (
            state.phase == _RUNNING and (course is None or state.index != course.state.index)
        ):
            if course is not None:
                yield course
            course = _Course(state)
        if course is None:
            continue
        if state.phase == _RUNNING:
            course.steps[stamp] = state.step
        elif state.phase in (_SUCCEEDED, _FAILED):
            course.state, course.ended = state, True
    if course is not None:
        yield course


def _answered_once(course: _Course, messages: _Messages, remarks: Counter[str]) -> list[int]:
    """The frames of an episode; of an observation that was sent several times, only the answered one."""
    by_step: dict[int, int] = {}
    for stamp in messages.frames:
        step = course.steps.get(stamp)
        if step is None:
            continue
        if step in by_step:
            remarks["frames left out, another one of the same control step is kept"] += 1
        if step not in by_step or stamp in messages.commands:
            by_step[step] = stamp
    return sorted(by_step.values())


def _answers(
    stamps: list[int], commands: dict[int, list[EndEffectorAction]], remarks: Counter[str]
) -> list[EndEffectorAction | None]:
    """The command for each frame, by its stamp. Further commands with the same stamp are from the same chunk. They
    belong to the frames that follow, as long as these have no command of their own.
    """
    further: deque[EndEffectorAction] = deque()
    answers: list[EndEffectorAction | None] = []
    unused = 0
    for stamp in stamps:
        own = commands.get(stamp, [])
        if own:
            unused += len(further)
            further = deque(own[1:])
            answers.append(own[0])
        else:
            answers.append(further.popleft() if further else None)
    remarks[_UNUSED] += unused + len(further)
    return answers
