"""Reads a LeRobotDataset from a local folder: our own, and others in the style of Bridge."""

import math
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from stvla_ros.errors import InputError
from stvla_ros.learning.datasets import demonstration as schema
from stvla_ros.learning.datasets.demonstration import Demonstration
from stvla_ros.learning.datasets.lerobot import format as layout
from stvla_ros.learning.datasets.lerobot.action_meaning import pose_of
from stvla_ros.learning.datasets.lerobot.info import feature_names, named_in_errors
from stvla_ros.learning.datasets.lerobot.metadata import EpisodeEntry, read_metadata
from stvla_ros.learning.datasets.lerobot.parquet import open_table, read_rows_of
from stvla_ros.learning.datasets.lerobot.video import read_frames
from stvla_ros.recordings.pixels import decode_picture
from stvla_ros.safe_files import check_limit

_OPEN_FILES = 4


class LeRobotReader:
    """A data set. Pictures are decoded when an episode is read.

    Readable versions are v3.0, v2.1 and v2.0. A data set needs one colour picture (image or video), a 7-D action that
    is a step of the end effector (``action_meaning.py``), and an instruction for each episode. Parts that a foreign
    data set lacks (depth, intrinsics, …) are None. Its stamps are the frames' indices divided by the rate. A state is
    used if the names of its elements tell pose and opening.

    :param path: folder of the data set.
    :param picture: key of the colour pictures; empty: the only `observation.images.*`, or the first of several.
    :param action: meaning of an action's numbers, see ``meaning_of``; empty: told by their names.
    :param needs_actions: whether actions and instructions are needed; if not, actions are NaN (unless ``action`` tells
        their meaning), and an episode may have no instruction.
    :raises InputError: with one line that names the file and what was expected; all methods do so.
    """

    def __init__(self, path: Path, picture: str = "", action: str = "", needs_actions: bool = True) -> None:
        self._needs_actions = needs_actions
        self._metadata = read_metadata(Path(path), picture, action, needs_actions)
        self.info = self._metadata.info
        self._files: dict[Path, _DataFile] = {}

    def __len__(self) -> int:
        """Number of episodes."""
        return len(self._metadata.episodes)

    def episode_lengths(self) -> np.ndarray:
        """(episodes,) int64, number of frames of each."""
        return np.array([episode.length for episode in self._metadata.episodes], np.int64)

    def instructions(self) -> list[str]:
        """The instruction of each episode."""
        episodes = self._metadata.episodes
        texts = [self._text(episode, self._table(episode, ["task_index"])) for episode in episodes]
        untold = [episode.index for episode, text in zip(episodes, texts) if not text]
        if untold and self._needs_actions:
            raise InputError(
                f"data set {self.info.path}: expected an instruction (a task's text) for every episode, "
                f"{len(untold)} of {len(episodes)} have none, such as episode {untold[0]}"
            )
        return texts

    def actions(self) -> np.ndarray:
        """(frames, 7) float32 actions of all episodes, one after the other."""
        needed = [schema.ACTION] if self.info.action else ["task_index"]
        return np.concatenate([self._action(each, self._table(each, needed)) for each in self._metadata.episodes])

    def identity(self) -> list[Any]:
        """What its frames depend on, as JSON can hold it."""
        info = self.info
        changed = (info.path / layout.INFO_PATH).stat().st_mtime_ns
        return [str(info.path.resolve()), changed, info.picture, info.action and info.action.elements]

    def episode(self, number: int) -> Demonstration:
        """:param number: index of the episode, 0 to ``len(self) - 1``."""
        if not 0 <= number < len(self):
            raise InputError(f"data set {self.info.path}: expected an episode 0 to {len(self) - 1}, got {number}")
        entry = self._metadata.episodes[number]
        present = self._open(entry.data_file).columns
        table = self._table(entry, [name for name in self._columns() if name in present])

        def numbers(name: str, *shape: int) -> np.ndarray | None:
            if name not in present:
                return None
            return _numbers(entry, table, name, math.prod(shape)).reshape(-1, *shape)

        intrinsics = numbers(schema.INTRINSICS, 3, 3)
        stamps = self._stamps(entry, table)
        if (np.diff(stamps) <= 0).any():
            raise InputError(f"{entry.data_file}, episode {entry.index}: expected stamps that increase")
        parts: dict[str, Any] = {
            "rgb": self._rgb(entry, table),
            "depth": _decode_pictures(entry, table, schema.DEPTH, depth=True) if schema.DEPTH in present else None,
            "intrinsics": None if intrinsics is None else _constant(entry, intrinsics).astype(np.float64),
            "stamps": stamps,
            "action": self._action(entry, table),
            "instruction": self._instruction(entry, table),
            "fps": self.info.fps,
            "success": entry.success,
            "executed_action": numbers(schema.EXECUTED_ACTION, len(schema.ACTION_NAMES)) if self.info.action else None,
            "state": self._state(entry, table),
            "scene_points": numbers(schema.SCENE_POINTS_FEATURE, len(schema.SCENE_POINTS), 3),
            "source": entry.source,
        }
        try:
            return Demonstration(**parts)
        except InputError as error:
            raise InputError(f"{entry.data_file}, episode {entry.index}: {error}") from None

    def __getstate__(self) -> dict[str, Any]:
        """Leave out open files when a data loader sends the reader to its workers."""
        return {**self.__dict__, "_files": {}}

    # --- parts --------------------------------------------------------------------------------------------------------

    def _columns(self) -> list[str]:
        pictures = [] if self.info.picture_is_video else [self.info.picture]
        known = [schema.DEPTH, schema.INTRINSICS, schema.STATE, schema.ACTION, schema.EXECUTED_ACTION]
        return [*pictures, *known, schema.SCENE_POINTS_FEATURE, schema.STAMP, "task_index"]

    def _open(self, path: Path) -> "_DataFile":
        if path not in self._files:
            while len(self._files) >= _OPEN_FILES:
                self._files.pop(next(iter(self._files)))
            self._files[path] = _DataFile(path)
        return self._files[path]

    def _table(self, entry: EpisodeEntry, columns: list[str]) -> pa.Table:
        return self._open(entry.data_file).read(entry, columns)

    def _action(self, entry: EpisodeEntry, table: pa.Table) -> np.ndarray:
        if self.info.action is None:
            return np.full((entry.length, len(schema.ACTION_NAMES)), np.nan, np.float32)
        stored = _numbers(entry, table, schema.ACTION, len(schema.ACTION_NAMES)).astype(np.float32)
        return self.info.action.to_ours(stored)

    def _instruction(self, entry: EpisodeEntry, table: pa.Table) -> str:
        text = self._text(entry, table)
        if not text and self._needs_actions:
            raise InputError(
                f"{entry.data_file}, episode {entry.index}: expected an instruction (a task's text), got none"
            )
        return text

    def _text(self, entry: EpisodeEntry, table: pa.Table) -> str:
        """The text of the task, empty if there is none."""
        used = {int(index) for index in _numbers(entry, table, "task_index")}
        if len(used) != 1:
            raise InputError(f"{entry.data_file}, episode {entry.index}: expected one task_index, got {sorted(used)}")
        text = self._metadata.tasks.get(used.pop()) or ""
        return text if text.strip() else ""

    def _rgb(self, entry: EpisodeEntry, table: pa.Table) -> np.ndarray:
        if entry.video_file is None:
            return _decode_pictures(entry, table, self.info.picture, depth=False)
        return read_frames(entry.video_file, entry.video_start_s, entry.length, self.info.fps)

    def _stamps(self, entry: EpisodeEntry, table: pa.Table) -> np.ndarray:
        if schema.STAMP in table.column_names:
            return _numbers(entry, table, schema.STAMP).astype(np.int64)
        return np.round(np.arange(entry.length) * 1e9 / self.info.fps).astype(np.int64)

    def _state(self, entry: EpisodeEntry, table: pa.Table) -> np.ndarray | None:
        if schema.STATE not in table.column_names:
            return None
        with named_in_errors(self.info.path / layout.INFO_PATH):
            names = feature_names(self.info.features[schema.STATE])
        return pose_of(names, _numbers(entry, table, schema.STATE, len(names))) if names else None


class _DataFile:
    """One parquet file of frames. Only an episode's own row groups are read."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with named_in_errors(path):
            self._file = open_table(path)
            self.columns = set(self._file.schema_arrow.names)
            if "episode_index" not in self.columns:
                raise InputError(f"{path}: expected a column episode_index, there is none")
            everywhere = range(self._file.num_row_groups)
            episodes = read_rows_of(path, self._file, everywhere, ["episode_index"])["episode_index"]
            if not _is_number(episodes.type):
                raise InputError(f"{path}: expected numbers in the column episode_index, got {episodes.type}")
            self._episodes = episodes.to_numpy()
            groups = [self._file.metadata.row_group(group).num_rows for group in range(self._file.num_row_groups)]
        self._group_ends = np.cumsum(groups)

    def read(self, entry: EpisodeEntry, columns: list[str]) -> pa.Table:
        """Rows of an episode."""
        rows = np.flatnonzero(self._episodes == entry.index)
        if len(rows) != entry.length or len(rows) == 0 or rows[-1] - rows[0] + 1 != len(rows):
            raise InputError(
                f"{self._path}: expected {entry.length} successive frames of episode {entry.index}, found {len(rows)}"
            )
        for name in columns:
            if name not in self.columns:
                raise InputError(f"{self._path}: expected a column {name}, there is none")
        first, last = np.searchsorted(self._group_ends, [rows[0], rows[-1]], side="right")
        with named_in_errors(self._path):
            table = read_rows_of(self._path, self._file, range(first, last + 1), columns)
        skipped = self._group_ends[first - 1] if first else 0
        return table.slice(rows[0] - skipped, entry.length)


def _numbers(entry: EpisodeEntry, table: pa.Table, name: str, width: int | None = None) -> np.ndarray:
    """:return: (T,), or (T, width), of the column's own type."""
    where = f"{entry.data_file}, episode {entry.index}, column {name}"
    if name not in table.column_names:
        raise InputError(f"{where}: expected {'a number' if width is None else f'{width} numbers'} a frame, got none")
    column = table[name].combine_chunks()
    if column.null_count:
        raise InputError(f"{where}: expected a number in every frame, {column.null_count} have none")
    if width is None:
        if not _is_number(column.type):
            raise InputError(f"{where}: expected one number a frame, got {column.type}")
        return _finite(where, column.to_numpy(zero_copy_only=False))
    if not any(
        is_kind(column.type) for is_kind in (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    ):
        raise InputError(f"{where}: expected {width} numbers a frame, got {column.type}")
    if not _is_number(column.type.value_type):
        raise InputError(f"{where}: expected {width} numbers a frame, got {column.type}")
    lengths = pc.unique(pc.list_value_length(column)).to_pylist()
    if lengths != [width]:
        raise InputError(f"{where}: expected {width} numbers a frame, got {lengths}")
    return _finite(where, column.flatten().to_numpy(zero_copy_only=False).reshape(-1, width))


def _is_number(kind: pa.DataType) -> bool:
    return pa.types.is_integer(kind) or pa.types.is_floating(kind)


def _finite(where: str, values: np.ndarray) -> np.ndarray:
    if not np.isfinite(values).all():
        raise InputError(f"{where}: expected finite numbers")
    return values


def _constant(entry: EpisodeEntry, intrinsics: np.ndarray) -> np.ndarray:
    """The camera matrix of an episode, which must be the same in all frames."""
    if (intrinsics != intrinsics[0]).any():
        raise InputError(f"{entry.data_file}, episode {entry.index}: expected the same intrinsics in all of its frames")
    return intrinsics[0]


def _decode_pictures(entry: EpisodeEntry, table: pa.Table, name: str, depth: bool) -> np.ndarray:
    """:return: (T, H, W, 3) uint8 rgb, or (T, H, W) uint16 depth."""
    where = f"{entry.data_file}, episode {entry.index}, column {name}"
    if name not in table.column_names:
        raise InputError(f"{where}: expected encoded pictures (bytes, path), there are none")
    kind = table[name].type
    place = kind.get_field_index("bytes") if pa.types.is_struct(kind) else -1
    if place < 0 or not (
        pa.types.is_binary(kind.field(place).type) or pa.types.is_large_binary(kind.field(place).type)
    ):
        raise InputError(f"{where}: expected encoded pictures (bytes, path), got {kind}")
    pictures: list[np.ndarray] = []
    for number, encoded in enumerate(table[name].combine_chunks().field("bytes")):
        data = encoded.as_py() or b""
        try:
            picture = decode_picture(data, cv2.IMREAD_UNCHANGED if depth else cv2.IMREAD_COLOR)
        except InputError as error:
            raise InputError(f"{where}, frame {number}: {error}") from None
        if picture is None:
            raise InputError(f"{where}: expected a png or jpeg in frame {number}, got {len(data)} other bytes")
        if depth and (picture.dtype != np.uint16 or picture.ndim != 2):
            raise InputError(f"{where}: expected uint16 (H, W) in frame {number}, got {picture.dtype} {picture.shape}")
        if not pictures:
            check_limit("episode_bytes", picture.nbytes * entry.length, where, f"bytes of {entry.length} pictures")
        if pictures and picture.shape != pictures[0].shape:
            raise InputError(f"{where}: expected one size of picture, got {pictures[0].shape} and {picture.shape}")
        pictures.append(picture if depth else cv2.cvtColor(picture, cv2.COLOR_BGR2RGB))
    return np.stack(pictures)
