"""Writes demonstrations as a LeRobotDataset v3.0."""

import contextlib
import glob
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from typing_extensions import Self

from stvla_ros.errors import InputError
from stvla_ros.learning.datasets import demonstration as schema
from stvla_ros.learning.datasets.demonstration import Demonstration
from stvla_ros.learning.datasets.lerobot import format as layout
from stvla_ros.learning.datasets.lerobot.files import DataFiles, EpisodeTable, VideoFiles
from stvla_ros.learning.datasets.lerobot.png import encode_png
from stvla_ros.learning.datasets.lerobot.stats import FeatureStats, RunningStats, number_stats, picture_stats

_MEGABYTE = 1024**2


class LeRobotWriter:
    """One new data set. Use as a context manager, or call ``close``.

    Everything is written into a hidden folder beside ``root``, which ``close`` moves there. So ``root`` is a complete
    data set or does not exist. A context that ends with an exception leaves nothing; the next writer of the same
    ``root`` removes the files of a killed process. Only one episode at a time is in memory.

    The first episode settles the rate, the picture's size and the optional parts (depth, intrinsics, state, …). All
    others must have the same.

    :param root: folder to make; it must not exist, or be empty.
    :param robot_type: name of the robot, as in ``robots/embodiments.py``.
    :param video: whether colour pictures are kept as H.264 (smaller, not lossless) instead of PNG. Depth is always
        lossless PNG of uint16 millimetres.
    :param data_file_mb: size at which a new data file begins.
    :param video_file_mb: size at which a new video file begins.
    :raises InputError: when ``root`` is not empty or cannot be made, or a size is below 1 MB.
    """

    def __init__(
        self,
        root: Path,
        robot_type: str,
        *,
        video: bool = False,
        data_file_mb: int = layout.DATA_FILE_MB,
        video_file_mb: int = layout.VIDEO_FILE_MB,
    ) -> None:
        self.root = root.resolve()
        self._robot_type = robot_type
        self._video = video
        self._file_mb = {"data": data_file_mb, "video": video_file_mb}
        if min(self._file_mb.values()) < 1:
            raise InputError(f"data set {root}: expected files of at least 1 MB, got {data_file_mb}, {video_file_mb}")
        if self.root.exists() and (not self.root.is_dir() or any(self.root.iterdir())):
            raise InputError(f"data set {root}: expected a new or empty folder")
        self._staging = self.root.parent / f".{self.root.name}.partial-{os.getpid()}"
        try:
            self.root.parent.mkdir(parents=True, exist_ok=True)
            _remove_abandoned(self.root)
            self._staging.mkdir()
        except OSError as error:
            raise InputError(f"data set {root}: cannot be written ({error.strerror})") from None
        self._features: dict[str, dict[str, Any]] = {}
        self._fps = 0.0
        self._tasks: dict[str, int] = {}
        self._stats = RunningStats()
        self._closed = False
        self._data: DataFiles | None = None
        self._videos: VideoFiles | None = None
        self._episodes = EpisodeTable(self._staging)
        self.num_episodes = 0
        self.num_frames = 0

    def add_episode(self, demonstration: Demonstration) -> None:
        """Append an episode.

        :raises InputError: when the episode has other parts, another size or another rate than the first; when it has
            no instruction or an action that is not finite; when a video is wanted and the picture's sides are odd;
            after ``close``. The earlier episodes stay. Also when the disk fails; then nothing is left.
        """
        if self._closed:
            raise InputError(f"data set {self.root}: expected no episode after it was closed")
        self._check(demonstration)
        if self._data is None:
            self._open(demonstration)
        episode, frames = self.num_episodes, len(demonstration)
        columns = self._columns(demonstration)
        stats = _episode_stats(demonstration, columns, self._features)
        first = self.num_frames
        row: dict[str, Any] = {
            "episode_index": episode,
            "tasks": [demonstration.instruction],
            "length": frames,
            "dataset_from_index": first,
            "dataset_to_index": first + frames,
            "success": demonstration.success,
            "source": json.dumps(dict(demonstration.source)),
        }
        with self._disk():
            if self._videos:
                row |= self._videos.write(demonstration.rgb)
            row |= self._data.write(columns)
            self._episodes.add(row, stats)
        self._stats.add(stats)
        self.num_episodes += 1
        self.num_frames += frames

    def close(self) -> None:
        """Finish the data set and move it to its place. Safe to call twice.

        :raises InputError: when there is no episode, when the disk fails, or when something else has filled ``root``
            meanwhile; then nothing is left behind.
        """
        if self._closed:
            return
        if self._data is None:
            self._discard()
            raise InputError(f"data set {self.root}: expected at least one episode, got none")
        with self._disk():
            self._close_files()
            pq.write_table(layout.tasks_table(list(self._tasks)), self._path(layout.TASKS_PATH))
            self._write_json(layout.STATS_PATH, _nested_lists(self._stats.features()))
            self._write_json(layout.INFO_PATH, self._info())
            self._staging.rename(self.root)
        self._closed = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        elif not self._closed:
            self._discard()

    # --- parts --------------------------------------------------------------------------------------------------------

    def _check(self, demonstration: Demonstration) -> None:
        where = f"data set {self.root}, episode {self.num_episodes}"
        if not demonstration.instruction.strip():
            raise InputError(f"{where}: expected an instruction, got none")
        if not np.isfinite(demonstration.action).all():
            raise InputError(f"{where}: expected finite actions")
        features = layout.make_features(demonstration, self._video)
        if self._features and (features, demonstration.fps) != (self._features, self._fps):
            got, expected = _describe(features, demonstration.fps), _describe(self._features, self._fps)
            raise InputError(f"{where}: expected the parts, size and rate of the first episode ({expected}), got {got}")

    def _open(self, demonstration: Demonstration) -> None:
        features = layout.make_features(demonstration, self._video)
        height, width = demonstration.rgb.shape[1:3]
        if self._video:
            if height % 2 or width % 2:
                raise InputError(f"data set {self.root}: expected even sides for a video, got {width}x{height}")
            self._videos = VideoFiles(self._staging, demonstration.fps, self._file_mb["video"] * _MEGABYTE)
        self._data = DataFiles(self._staging, layout.data_schema(features), self._file_mb["data"] * _MEGABYTE)
        self._features, self._fps = features, demonstration.fps

    def _columns(self, demonstration: Demonstration) -> dict[str, np.ndarray | list[dict[str, Any]]]:
        """The columns of the data file."""
        frames = len(demonstration)
        number = np.arange(frames)
        task = self._tasks.setdefault(demonstration.instruction, len(self._tasks))
        columns: dict[str, Any] = {
            schema.STATE: demonstration.state,
            schema.ACTION: demonstration.action,
            schema.EXECUTED_ACTION: demonstration.executed_action,
            schema.STAMP: demonstration.stamps,
            "timestamp": (number / demonstration.fps).astype(np.float32),
            "frame_index": number,
            "episode_index": np.full(frames, self.num_episodes),
            "index": number + self.num_frames,
            "task_index": np.full(frames, task),
        }
        if demonstration.intrinsics is not None:
            columns[schema.INTRINSICS] = np.tile(demonstration.intrinsics.reshape(1, 9), (frames, 1))
        if demonstration.scene_points is not None:
            columns[schema.SCENE_POINTS_FEATURE] = demonstration.scene_points.reshape(frames, -1)
        if not self._video:
            columns[schema.PICTURE] = _encode(demonstration.rgb[..., ::-1])
        if demonstration.depth is not None:
            columns[schema.DEPTH] = _encode(demonstration.depth)
        return columns

    def _info(self) -> dict[str, Any]:
        fps = int(self._fps) if float(self._fps).is_integer() else self._fps
        if self._videos:
            self._features[schema.PICTURE]["info"] = self._videos.info(self._features[schema.PICTURE]["shape"])
        return {
            "codebase_version": layout.VERSION,
            "robot_type": self._robot_type,
            "total_episodes": self.num_episodes,
            "total_frames": self.num_frames,
            "total_tasks": len(self._tasks),
            "chunks_size": layout.CHUNK_SIZE,
            "data_files_size_in_mb": self._file_mb["data"],
            "video_files_size_in_mb": self._file_mb["video"],
            "fps": fps,
            "splits": {"train": f"0:{self.num_episodes}"},
            "data_path": layout.DATA_PATH,
            "video_path": layout.VIDEO_PATH if self._video else None,
            "features": self._features,
        }

    @contextlib.contextmanager
    def _disk(self) -> Iterator[None]:
        """Wraps all writing: after a failure the files are useless."""
        try:
            yield
        except OSError as error:  # FFmpeg's and Arrow's are of this kind, too.
            self._discard()
            reason = (error.strerror or str(error)).splitlines()[0]
            raise InputError(f"data set {self.root}: cannot be written ({reason})") from None

    def _discard(self) -> None:
        self._closed = True
        with contextlib.suppress(OSError):
            self._close_files()
        shutil.rmtree(self._staging, ignore_errors=True)

    def _close_files(self) -> None:
        for files in (self._data, self._videos, self._episodes):
            if files is not None:
                files.close()

    def _path(self, relative: str) -> Path:
        path = self._staging / relative
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def _write_json(self, relative: str, content: Mapping[str, Any]) -> None:
        self._path(relative).write_text(json.dumps(content, indent=4, ensure_ascii=False), encoding="utf-8")


def _encode(pictures: np.ndarray) -> list[dict[str, Any]]:
    """Pictures in OpenCV's order of colours, or depth maps, as a column of a data file."""
    return [{"bytes": file.tobytes(), "path": None} for file in encode_png(pictures)]


def _episode_stats(
    demonstration: Demonstration, columns: Mapping[str, Any], features: Mapping[str, Mapping[str, Any]]
) -> dict[str, FeatureStats]:
    stats = {schema.PICTURE: picture_stats(demonstration.rgb, 255.0)}
    if demonstration.depth is not None:
        stats[schema.DEPTH] = picture_stats(demonstration.depth[..., None], 1.0)
    for name in features:
        if name not in stats:
            stats[name] = number_stats(columns[name].reshape(len(demonstration), -1))
    return stats


def _nested_lists(stats: Mapping[str, FeatureStats]) -> dict[str, dict[str, list]]:
    return {name: {kind: value.tolist() for kind, value in feature.items()} for name, feature in stats.items()}


def _describe(features: Mapping[str, Mapping[str, Any]], fps: float) -> str:
    height, width = features[schema.PICTURE]["shape"][:2]
    given = [name for name in features if name not in layout.BOOKKEEPING]
    return f"{width}x{height} at {fps:g} Hz with {', '.join(given)}"


def _remove_abandoned(root: Path) -> None:
    """Remove what ended processes left of their attempts at the same data set."""
    for folder in root.parent.glob(f".{glob.escape(root.name)}.partial-*"):
        pid = folder.name.rpartition("-")[2]
        if pid.isdecimal() and not Path(f"/proc/{pid}").exists():
            shutil.rmtree(folder, ignore_errors=True)
