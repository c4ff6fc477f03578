"""`stvla convert`: recordings of the live graph to a data set."""

import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from tyro.conf import Positional

from stvla_ros.errors import InputError
from stvla_ros.learning.datasets.demonstration import Demonstration, depth_to_millimetres
from stvla_ros.perception.calibration import intrinsics_for
from stvla_ros.perception.stream_checks import DepthWatch, look_at_depth
from stvla_ros.safe_files import check_instruction

if TYPE_CHECKING:
    from stvla_ros.learning.datasets.bags.bag_episodes import BagEpisodes
    from stvla_ros.learning.datasets.bags.frames import ChosenFrames, RecordedEpisode
    from stvla_ros.recordings.types import RecordedFrame


# A data set's depth is in millimetres of 16 bits.
_FARTHEST_STORED_M = np.iinfo(np.uint16).max * 1e-3
_OPTIONAL_TOPICS = ("camera_info", "depth", "episode_state")
_TOPICS = ("image", "command", *_OPTIONAL_TOPICS)


@dataclass(frozen=True)
class ConvertArguments:
    """Convert recordings of the live graph (`stvla sim --record`, `stvla robot --record`) to a LeRobotDataset."""

    bags: Positional[tuple[str, ...]] = ()
    """Folders or files of recordings."""
    output: str = "out/datasets/converted"
    """Folder of the data set; it must not exist, or be empty."""
    fps: float = 0.0
    """Rate to resample to: at each tick the newest frame; motions of merged frames are combined, repeated frames hold
    still. 0: every frame with a command is kept with its stamp, and they must be evenly spaced; a robot's that are not
    are resampled to its control rate."""
    tolerance: float = 0.2
    """Largest difference of an interval from the usual one, as a share of it, without resampling."""
    sync_tolerance: float = -1.0
    """Largest difference of the stamps of a picture and its depth, seconds; 0: equal stamps; -1: half the pictures'
    period."""
    instruction: str = ""
    """Instruction of a recording without the topic episode_state (each goal is then an episode); empty: the one that
    its recorder wrote down."""
    image: str = ""
    """Topic of the colour pictures; empty, for this and the other topics: the one that the recorder wrote down, or the
    only one that fits."""
    camera_info: str = ""
    """Topic of the pictures' intrinsics; none: without."""
    depth: str = ""
    """Topic of the depth that is registered to the pictures; none: without."""
    command: str = ""
    """Topic of the commands."""
    episode_state: str = ""
    """Topic of the episodes' states; none: without, so that each goal is an episode."""
    robot: str = ""
    """Name of the robot. Empty: taken from the frame of the commands."""
    only_successes: bool = False
    """Leave out episodes that ended without success."""
    video: bool = False
    """Write colour as mp4 (small, but traces differ a little from the live ones) instead of lossless pictures."""


def main(arguments: ConvertArguments) -> int:
    """:returns: the exit code.
    :raises InputError: for a bad argument or an unusable recording; then nothing is written.
    """
    from stvla_ros.learning.datasets.bags.bag_episodes import find_episodes
    from stvla_ros.learning.datasets.bags.graph_messages import GraphTopics
    from stvla_ros.learning.datasets.lerobot.writer import LeRobotWriter
    from stvla_ros.recordings.bag_topics import NONE, BagTopics

    _check(arguments, NONE)
    started = time.monotonic()
    tolerance_ns = _tolerance_ns(arguments)
    topics = GraphTopics(
        BagTopics(arguments.image, arguments.camera_info, arguments.depth), arguments.command, arguments.episode_state
    )
    bags = [
        (Path(bag), find_episodes(Path(bag), topics, arguments.instruction, tolerance_ns)) for bag in arguments.bags
    ]
    robot = arguments.robot or _only_robot(found.robot for _, found in bags)
    remarks: Counter[str] = Counter()
    lacking = _without_state(episode for _, found in bags for episode in found.episodes)
    if lacking:
        remarks["frames whose robot's state is not recorded, so that no frame gets an observation.state"] = lacking
    with LeRobotWriter(Path(arguments.output), robot, video=arguments.video) as writer:
        for path, found in bags:
            remarks += found.remarks
            for demonstration in _demonstrations(path, found, arguments, remarks, with_state=not lacking):
                writer.add_episode(demonstration)
        for reason, count in remarks.items():
            print(f"{reason}: {count}")
    size = sum(file.stat().st_size for file in writer.root.rglob("*") if file.is_file())
    print(
        f"data set {writer.root}: {writer.num_episodes} episodes, {writer.num_frames} frames, {size / 1e6:.1f} MB "
        f"in {time.monotonic() - started:.0f} s"
    )
    return 0


def _without_state(episodes: Iterable["RecordedEpisode"]) -> int:
    """How many frames have no state: a data set has them in all of its frames or in none."""
    return sum(
        len(each.stamps) if each.states is None else int(np.isnan(each.states).any(axis=1).sum()) for each in episodes
    )


def _check(arguments: ConvertArguments, none: str) -> None:
    if not arguments.bags:
        raise InputError("bags: expected at least one recording, got none")
    if not 0 <= arguments.fps <= 1000:
        raise InputError(f"fps: expected 0 (as recorded) to 1000, got {arguments.fps}")
    if not 0 < arguments.tolerance < 1:
        raise InputError(f"tolerance: expected a share above 0 and below 1, got {arguments.tolerance}")
    if not -1 <= arguments.sync_tolerance <= 10:
        raise InputError(
            f"sync_tolerance: expected -1 (half the pictures' period) to 10 s, got {arguments.sync_tolerance}"
        )
    check_instruction(arguments.instruction, "instruction")
    for name in _TOPICS:
        topic, optional = getattr(arguments, name), name in _OPTIONAL_TOPICS
        if topic and not topic.startswith("/") and not (optional and topic == none):
            raise InputError(
                f"{name}: expected a topic with its leading slash{f', or {none}' if optional else ''}, got {topic!r}"
            )


def _tolerance_ns(arguments: ConvertArguments) -> int | None:
    """The tolerance for ``FramePairs``, nanoseconds."""
    return None if arguments.sync_tolerance < 0 else round(arguments.sync_tolerance * 1e9)


def _only_robot(names: Iterable[str]) -> str:
    known = set(names)
    if len(known) != 1 or "" in known:
        told = ", ".join(sorted(filter(None, known))) or "none"
        raise InputError(f"robot: expected a name, the commands have the frames of several robots or of none: {told}")
    return known.pop()


def _demonstrations(
    path: Path, found: "BagEpisodes", arguments: ConvertArguments, remarks: Counter[str], with_state: bool
) -> Iterator[Demonstration]:
    """Yields one after the other, so that only one episode's pictures are in memory."""
    from stvla_ros.learning.datasets.bags.frames import choose_frames
    from stvla_ros.recordings.bag_reader import read_bag

    frames = read_bag(path, found.topics, tolerance_ns=_tolerance_ns(arguments))
    for episode in found.episodes:
        if arguments.only_successes and not episode.success:
            remarks["episodes left out, they ended without success"] += 1
            continue
        chosen = choose_frames(episode, arguments.fps, arguments.tolerance)
        remarks += chosen.remarks
        demonstration = _demonstration(episode, chosen, _pictures(episode, chosen, frames), remarks)
        if with_state and episode.states is not None:
            rows = np.searchsorted(episode.stamps, chosen.recorded)
            demonstration = replace(demonstration, state=episode.states[rows])
        yield demonstration


def _pictures(
    episode: "RecordedEpisode", chosen: "ChosenFrames", frames: Iterator["RecordedFrame"]
) -> "list[RecordedFrame]":
    wanted = set(chosen.recorded.tolist())
    found: dict[int, RecordedFrame] = {}
    while len(found) < len(wanted):
        frame = next(frames, None)
        if frame is None:
            missing = min(wanted - set(found))
            raise InputError(f"{episode.name}: expected a picture with the stamp {missing}, it cannot be found again")
        if frame.stamp_ns in wanted:
            found.setdefault(frame.stamp_ns, frame)
    return [found[stamp] for stamp in chosen.recorded.tolist()]


def _demonstration(
    episode: "RecordedEpisode", chosen: "ChosenFrames", frames: "list[RecordedFrame]", remarks: Counter[str]
) -> Demonstration:
    from stvla_ros.learning.datasets.demonstration import action_row

    _check_frames(episode, frames)
    first = frames[0]
    height, width = first.rgb.shape[:2]
    if first.depth is not None:
        remarks += _look_at_depths(episode, frames)
        if first.depth.dtype != np.uint16:
            remarks["depth maps rounded from metres to millimetres"] += len(frames)
    return Demonstration(
        rgb=np.stack([frame.rgb for frame in frames]),
        depth=None if first.depth is None else np.stack([depth_to_millimetres(frame.depth) for frame in frames]),
        intrinsics=None if first.camera is None else intrinsics_for(first.camera, (width, height)),
        stamps=chosen.stamps,
        action=np.stack([action_row(action) for action in chosen.actions]),
        instruction=episode.instruction,
        fps=chosen.fps,
        success=episode.success,
        source={**episode.source, "first_stamp_ns": int(chosen.recorded[0])},
    )


def _look_at_depths(episode: "RecordedEpisode", frames: "list[RecordedFrame]") -> Counter[str]:
    """What the live graph would say of the depth, with the number of frames.

    :raises InputError: for metres that no millimetres of 16 bits hold: nothing would be left of the depth.
    """
    watch, said = DepthWatch(), []
    for frame in frames:
        assert frame.depth is not None  # of an episode's frames, all have depth or none
        if problem := watch.update(frame.depth, frame.stamp_ns, frame.rgb):
            said.append(problem)
            if look_at_depth(frame.depth).median_m > _FARTHEST_STORED_M:
                raise InputError(f"{episode.name}, stamp {frame.stamp_ns}: depth: {problem}")
    return Counter({f"frames of {episode.name} with odd depth ({said[0]})": len(said)} if said else {})


def _check_frames(episode: "RecordedEpisode", frames: "list[RecordedFrame]") -> None:
    """:raises InputError: when the frames of an episode are not of one camera."""
    first = frames[0]
    height, width = first.rgb.shape[:2]
    for frame in frames:
        where = f"{episode.name}, stamp {frame.stamp_ns}"
        if frame.rgb.shape != first.rgb.shape:
            raise InputError(f"{where}: expected a picture of {width}x{height} as before, got {frame.rgb.shape}")
        if (frame.depth is None) != (first.depth is None):
            raise InputError(f"{where}: expected depth in every frame or in none")
        if frame.depth is not None and frame.depth.shape != (height, width):
            raise InputError(f"{where}: expected depth of the picture's size, got {frame.depth.shape}")
        if (frame.camera is None) != (first.camera is None):
            raise InputError(f"{where}: expected a calibration in every frame or in none")
        if frame.camera is not None:
            try:
                intrinsics_for(frame.camera, (width, height))
            except InputError as error:
                raise InputError(f"{where}: camera_info: {error}") from None
            if not np.array_equal(frame.camera.intrinsics, first.camera.intrinsics):
                raise InputError(f"{where}: expected the same intrinsics in all frames of an episode")
