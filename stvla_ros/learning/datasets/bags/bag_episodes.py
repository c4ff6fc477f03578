"""The episodes in a bag of the live graph: stamps, commands and outcomes, without the pictures."""

from bisect import bisect_left, bisect_right
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from stvla_ros.control.actions import EndEffectorAction
from stvla_ros.errors import InputError
from stvla_ros.learning.datasets.bags.frames import RecordedEpisode
from stvla_ros.learning.datasets.bags.graph_messages import (
    GraphMessages,
    GraphTopics,
    SentCommand,
    read_episode_states,
    read_messages,
)
from stvla_ros.learning.datasets.bags.recorded_states import read_states
from stvla_ros.perception.frame_pairs import FramePairs
from stvla_ros.recordings.bag import Bag
from stvla_ros.recordings.bag_files import is_bag, open_bag
from stvla_ros.recordings.bag_reader import PAIRING_WINDOW
from stvla_ros.recordings.bag_topics import NONE, BagTopics
from stvla_ros.robots.embodiments import embodiments
from stvla_ros.safe_files import check_instruction

# After all stamps.
_NEVER = 1 << 63
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
class _Course:
    """An episode as its states describe it."""

    state: Any
    steps: dict[int, int] = field(default_factory=dict)  # step by stamp of the observation
    ended: bool = False


def find_episodes(path: Path, topics: GraphTopics, instruction: str, tolerance_ns: int | None = None) -> BagEpisodes:
    """:param topics: names of the topics to read.
    :param instruction: instruction of a bag without episode_state; empty: the one that the recorder wrote down.
    :param tolerance_ns: largest difference of the stamps of a picture and its depth, see ``read_bag``.
    :raises InputError: for anything but a bag, for a bag that is damaged or has no pictures, commands or instruction,
        and if several topics fit.
    """
    if not is_bag(path):
        raise InputError(f"bag {path}: expected a rosbag2 folder or file, there is none")
    # All reading happens in this block: a bag brings its own definitions of types, so any field may be missing or have
    # any type.
    with open_bag(path) as bag:
        messages = read_messages(bag, topics, FramePairs(PAIRING_WINDOW, tolerance_ns))
        found = _put_together(path, messages, instruction or bag.instruction)
        return _with_states(found, bag)


def _with_states(found: BagEpisodes, bag: Bag) -> BagEpisodes:
    """The episodes with the robot's states, where the bag tells them."""
    if not found.robot or not found.episodes:
        return found
    folder = found.topics.image.removesuffix("/compressed").rpartition("/")[0]
    ends = np.cumsum([len(episode.stamps) for episode in found.episodes])
    stamps = np.concatenate([episode.stamps for episode in found.episodes])
    states = read_states(bag, folder, embodiments()[found.robot], stamps)
    if states is None:
        return found
    rows = np.split(states, ends[:-1])
    episodes = [replace(episode, states=own) for episode, own in zip(found.episodes, rows, strict=True)]
    return replace(found, episodes=episodes)


def episodes_by_stamp(path: Path) -> dict[int, int]:
    """To which episode each observation belongs, of a bag that tells so.

    :returns: the episode's place in the bag by the observation's stamp; empty for a bag without ``episode_state``.
    :raises InputError: for anything but a bag, and for a bag that is damaged.
    """
    with open_bag(path) as bag:
        return {
            stamp: number for number, course in enumerate(_courses(read_episode_states(bag))) for stamp in course.steps
        }


def _put_together(path: Path, messages: GraphMessages, instruction: str) -> BagEpisodes:
    topics = messages.topics
    remarks = Counter({"frames left out, their stamp repeats or goes back": messages.repeated_stamps})
    if topics.depth != NONE:
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


def _episodes(
    path: Path, messages: GraphMessages, instruction: str, remarks: Counter[str]
) -> Iterator[RecordedEpisode]:
    # The bag of a recorded run is always called `bag`; the name of its folder identifies the run.
    source = {"bag": "/".join(path.resolve().parts[-2:])}
    if not messages.states:
        if not instruction.strip():
            raise InputError(f"bag {path}: expected an instruction to be given, it has no topic episode_state")
        yield from _goals(path, messages, check_instruction(instruction, f"bag {path}, instruction"), source, remarks)
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


def _goals(
    path: Path, messages: GraphMessages, instruction: str, source: dict[str, Any], remarks: Counter[str]
) -> Iterator[RecordedEpisode]:
    """Of a robot's recording, an episode for each goal that the policy pursued."""
    by_goal: dict[bytes, dict[int, list[SentCommand]]] = {}
    for stamp, commands in sorted(messages.commands.items()):
        verdicts = {goal: iter(messages.verdicts.get((goal, stamp), ())) for goal in {each.goal for each in commands}}
        for command in commands:
            # Verdicts come in the commands' order. Of what nothing was told, it was executed.
            if not next(verdicts[command.goal], True):
                remarks["commands left out, the robot refused them"] += 1
                continue
            by_goal.setdefault(command.goal, {}).setdefault(stamp, []).append(command)
    begins = [min(commands) for commands in by_goal.values()]
    for number, (of_goal, following) in enumerate(zip(by_goal.values(), [*begins[1:], _NEVER])):
        stamps = messages.frames[: bisect_left(messages.frames, following)]
        remarks["commands left out, another goal had begun"] += sum(
            len(late) for stamp, late in of_goal.items() if stamp >= following
        )
        answers = _answers_in_time(stamps, of_goal, remarks)
        answered = [index for index, action in enumerate(answers) if action is not None]
        if len(answered) < 2:
            remarks["goals left out, fewer than 2 frames are recorded with their commands"] += 1
            continue
        course = slice(answered[0], answered[-1] + 1)
        frames = np.array(stamps[course], np.int64)
        name = f"bag {path}" + (f", goal {number}" if len(by_goal) > 1 else "")
        yield RecordedEpisode(
            name,
            frames,
            frames,
            answers[course],
            instruction,
            control_hz=1e9 / messages.period_ns if messages.period_ns else 0.0,
            source={**source, "goal": number},
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


def _answered_once(course: _Course, messages: GraphMessages, remarks: Counter[str]) -> list[int]:
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
    stamps: list[int], commands: dict[int, list[SentCommand]], remarks: Counter[str]
) -> list[EndEffectorAction | None]:
    """The command for each frame, by its stamp. Further commands with the same stamp are from the same chunk. They
    belong to the frames that follow, as long as these have no command of their own.
    """
    further: deque[SentCommand] = deque()
    answers: list[EndEffectorAction | None] = []
    unused = 0
    for stamp in stamps:
        own = commands.get(stamp, [])
        if own:
            unused += len(further)
            further = deque(own[1:])
            answers.append(own[0].action)
        else:
            answers.append(further.popleft().action if further else None)
    remarks[_UNUSED] += unused + len(further)
    return answers


def _answers_in_time(
    stamps: list[int], commands: dict[int, list[SentCommand]], remarks: Counter[str]
) -> list[EndEffectorAction | None]:
    """The command under each frame's stamp. A robot's camera may be faster than its control steps, so further ones of
    the same chunk belong to the frames that were the newest when they were sent.
    """
    answers: list[EndEffectorAction | None] = [None] * len(stamps)
    own = [index for index, stamp in enumerate(stamps) if stamp in commands]
    for index, following in zip(own, [*own[1:], len(stamps)]):
        first, *further = commands[stamps[index]]
        answers[index] = first.action
        place = index
        for command in further:
            # Clocks of cameras that are not this machine's: the next frame.
            newest = bisect_right(stamps, command.recorded_ns) - 1
            place = newest if place < newest < following else place + 1
            if place >= following:
                remarks[_UNUSED] += 1
            else:
                answers[place] = command.action
    return answers
