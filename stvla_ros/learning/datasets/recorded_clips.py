"""Videos, image folders and bags as data without actions: clips of pictures with the stamps that they were taken at."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from stvla_ros.errors import InputError
from stvla_ros.learning.datasets import demonstration as schema
from stvla_ros.learning.datasets.bags.bag_episodes import episodes_by_stamp
from stvla_ros.learning.datasets.demonstration import SeenFrame
from stvla_ros.perception.calibration import intrinsics_for
from stvla_ros.recordings.bag_files import is_bag
from stvla_ros.recordings.bag_topics import BagTopics
from stvla_ros.recordings.open_recording import frame_rate, open_recording
from stvla_ros.recordings.types import RecordedFrame

# A stamp that goes back by more means that the source started anew, as nodes take it; by less, it is late.
_ANEW_NS = 1_000_000_000
# So that pictures at exactly the rate asked for are kept, whatever their stamps jitter.
_EARLY = 0.9
_MOST_RATE = 10_000.0


@dataclass(frozen=True)
class RecordingsConfig:
    """How recordings are read.

    :param image_topic: topic of bags; empty: the only colour picture that nobody drew in.
    :param depth_topic: topic of bags; empty: the registered depth beside the picture.
    :param frame_rate: pictures a second of image folders whose pictures carry no stamps.
    :param most_rate: frames a second that are used of a recording, at most; 0 for all.
    :raises InputError: for a rate out of range.
    """

    image_topic: str = ""
    depth_topic: str = ""
    frame_rate: float = 0.0
    most_rate: float = 0.0

    def __post_init__(self) -> None:
        for name in ("frame_rate", "most_rate"):
            if not 0.0 <= (value := getattr(self, name)) <= _MOST_RATE:
                raise InputError(f"{name}: expected 0 to {_MOST_RATE:g}, got {value}")


@dataclass(frozen=True)
class RecordingInfo:
    """What is known of a recording; names as in ``DatasetInfo``.

    :param fps: frames a second that are used, by the median of the stamps' steps.
    :param robot_type: kind of data, as there is no robot.
    :param features: things beside the pictures that it has, by LeRobot's names.
    """

    path: Path
    fps: float
    robot_type: str = "a recording"
    features: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class RecordedClip:
    """Frames of a recording that belong together. As of ``Demonstration``, without what only a robot knows.

    :param recording: recording that they are in.
    :param places: (T,) int64, which of its pictures, counted from 0.
    :param stamps: (T,) int64 nanoseconds, increasing.
    """

    recording: "RecordedClips"
    places: np.ndarray
    stamps: np.ndarray
    instruction: str = ""
    executed_action: None = None
    state: None = None
    scene_points: None = None

    @property
    def action(self) -> np.ndarray:
        """(T, 7) NaN: nobody knows."""
        return np.full((len(self.stamps), len(schema.ACTION_NAMES)), np.nan, np.float32)

    def __len__(self) -> int:
        return len(self.stamps)

    def frames(self) -> Iterator[SeenFrame]:
        """One after the other: a recording is not held in memory."""
        wanted = dict(zip(self.places.tolist(), self.stamps.tolist(), strict=True))
        for place, frame in enumerate(self.recording.open()):
            if place in wanted:
                yield SeenFrame(wanted[place], frame.rgb, frame.depth, self.recording.intrinsics(frame))
            if place >= self.places[-1]:
                return


class RecordedClips:
    """A video, an image folder or a bag. It is gone through once to find its stamps.

    The clips of a bag of simulated episodes are these episodes; frames between them are left out. Else a recording is
    one clip, and another begins where its stamps start anew.

    :param path: file or folder of the recording.
    :param config: settings for reading it.
    :raises InputError: one line that names the recording and says why it cannot be used; so do all methods.
    """

    def __init__(self, path: Path, config: RecordingsConfig = RecordingsConfig()) -> None:
        self._path, self._config = path.expanduser(), config
        self.left_out: list[str] = []
        """A line for each frame that is not used."""
        episodes = episodes_by_stamp(self._path) if is_bag(self._path) else {}
        clips: list[list[tuple[int, int]]] = []
        number: int | None = None
        features: set[str] = set()
        for place, frame in enumerate(self.open(self.left_out)):
            if episodes and frame.stamp_ns not in episodes:
                self.left_out.append(f"recording {path}: stamp {frame.stamp_ns} is in no episode")
                continue
            newest = clips[-1][-1][1] if clips else -1
            of = episodes.get(frame.stamp_ns)
            if not clips or of != number or newest - frame.stamp_ns > _ANEW_NS:
                clips.append([(place, frame.stamp_ns)])
                number = of
            elif frame.stamp_ns <= newest:
                self.left_out.append(f"recording {path}: stamp {frame.stamp_ns} does not follow {newest}")
            elif not config.most_rate or frame.stamp_ns - newest >= _EARLY * 1e9 / config.most_rate:
                clips[-1].append((place, frame.stamp_ns))
            features |= {schema.DEPTH} if frame.depth is not None else set()
            features |= {schema.INTRINSICS} if frame.camera is not None else set()
        if not clips:
            raise InputError(f"recording {path}: expected frames in the episodes that it tells of, found none")
        self._clips = [np.array(clip, np.int64).T for clip in clips]
        longest = max(self._clips, key=lambda clip: clip.shape[1])
        self.info = RecordingInfo(self._path, frame_rate(longest[1].tolist()), features=dict.fromkeys(sorted(features)))

    def open(self, left_out: list[str] | None = None) -> Iterator[RecordedFrame]:
        """All frames.

        :param left_out: is told about each picture that cannot be read; None: nobody is.
        """
        topics = BagTopics(image=self._config.image_topic, depth=self._config.depth_topic)
        told: list[str] = [] if left_out is None else left_out
        return open_recording(self._path, topics, self._config.frame_rate or None, told.append)

    def intrinsics(self, frame: RecordedFrame) -> np.ndarray | None:
        """(3, 3) in the frame's pixels; None where nobody knows."""
        if frame.camera is None:
            return None
        try:
            return intrinsics_for(frame.camera, (frame.rgb.shape[1], frame.rgb.shape[0]))
        except InputError as error:
            raise InputError(f"recording {self._path}: {error}") from None

    def __len__(self) -> int:
        """Clips."""
        return len(self._clips)

    def episode_lengths(self) -> np.ndarray:
        """(clips,) int64 frames."""
        return np.array([clip.shape[1] for clip in self._clips], np.int64)

    def instructions(self) -> list[str]:
        """Of each clip none."""
        return [""] * len(self)

    def actions(self) -> np.ndarray:
        """(frames, 7) NaN: nobody knows."""
        return np.full((int(self.episode_lengths().sum()), len(schema.ACTION_NAMES)), np.nan, np.float32)

    def episode(self, number: int) -> RecordedClip:
        """:param number: 0 to ``len(self) - 1``."""
        places, stamps = self._clips[number]
        return RecordedClip(self, places, stamps)

    def identity(self) -> list[Any]:
        """What its frames depend on, as JSON can hold it."""
        files = sorted(self._path.rglob("*")) if self._path.is_dir() else [self._path]
        newest = max(file.stat().st_mtime_ns for file in files)
        return [str(self._path.resolve()), len(files), newest, vars(self._config)]
