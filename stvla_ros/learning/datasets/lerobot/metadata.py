"""`meta/` of a LeRobotDataset on disk: v3.0, and v2.0 or v2.1 with one file per episode."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from stvla_ros.errors import InputError
from stvla_ros.learning.datasets.lerobot import format as layout
from stvla_ros.learning.datasets.lerobot.info import DatasetInfo, check_info, named_in_errors, read_info
from stvla_ros.learning.datasets.lerobot.parquet import open_table, read_rows_of
from stvla_ros.safe_files import (
    check_instruction,
    json_lines,
    parse_json,
    short_number,
)
from stvla_ros.safe_paths import fill_template, path_inside

# More than an hour at 200 Hz.
_MOST_FRAMES = 1_000_000


@dataclass(frozen=True)
class EpisodeEntry:
    """The place of an episode in the data set's files.

    :param index: `episode_index` of its rows.
    :param length: number of frames.
    :param video_file: file with the pictures; None if they are in the data file.
    :param video_start_s: time of the episode's first frame in the video, seconds.
    """

    index: int
    length: int
    data_file: Path
    video_file: Path | None = None
    video_start_s: float = 0.0
    success: bool = True
    source: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Metadata:
    """:param tasks: instructions by `task_index`.
    :param episodes: episodes in the order of their indices.
    """

    info: DatasetInfo
    tasks: Mapping[int, str]
    episodes: list[EpisodeEntry]


def read_metadata(path: Path, picture: str = "", action: str = "", needs_actions: bool = True) -> Metadata:
    """:param picture: key of the colour pictures; empty: the first `observation.images.*` that is no depth map.
    :param action: meaning of an action's numbers, see ``meaning_of``; empty: told by their names.
    :param needs_actions: whether actions that cannot be used, or none, are an error.
    :raises InputError: one line that names the file and what is missing, damaged or does not fit.
    """
    document = read_info(path)
    info = check_info(path, document, picture, action, needs_actions)
    episodes = _episodes_v3(info, document) if info.version == layout.VERSION else _episodes_v2(info, document)
    tasks = _tasks_v3(path) if info.version == layout.VERSION else _tasks_v2(path)
    where = path / layout.INFO_PATH
    frames = sum(episode.length for episode in episodes)
    if (len(episodes), frames) != (info.num_episodes, info.num_frames):
        raise InputError(
            f"{where}: expected {info.num_episodes} episodes and {info.num_frames} frames, as this "
            f"file declares; the table of episodes has {len(episodes)} and {frames}"
        )
    if len({episode.index for episode in episodes}) != len(episodes):
        raise InputError(f"{path / layout.EPISODES_FOLDER}: expected every episode_index once")
    empty = [episode.index for episode in episodes if not episode.length]
    if empty:
        print(f"note: {where}: left out, without frames: episode {', '.join(map(str, empty[:8]))}", file=sys.stderr)
        episodes = [episode for episode in episodes if episode.length]
    for episode in episodes:
        for file in (episode.data_file, episode.video_file):
            if file is not None and not file.is_file():
                raise InputError(f"{file}: expected the file of episode {episode.index}, there is none")
    return Metadata(info, tasks, sorted(episodes, key=lambda episode: episode.index))


# --- v3.0 -------------------------------------------------------------------------------------------------------------


def _episodes_v3(info: DatasetInfo, document: Mapping[str, Any]) -> list[EpisodeEntry]:
    folder = info.path / layout.EPISODES_FOLDER
    files = sorted(folder.glob("*/*.parquet"))
    if not files:
        raise InputError(f"{folder}: expected the table of episodes (chunk-000/file-000.parquet), there is none")
    video = [f"videos/{info.picture}/{name}" for name in ("chunk_index", "file_index", "from_timestamp")]
    wanted = ["episode_index", "length", "data/chunk_index", "data/file_index"]
    wanted += video if info.picture_is_video else []
    episodes = []
    for file in files:
        with named_in_errors(file):
            table = open_table(file)
            present = table.schema_arrow.names
            columns = wanted + [name for name in ("success", "source") if name in present]
            for name in columns:
                if name not in present:
                    raise InputError(f"{file}: expected a column {name}, there is none")
            for row in read_rows_of(file, table, range(table.num_row_groups), columns).to_pylist():
                indices = {"chunk_index": row["data/chunk_index"], "file_index": row["data/file_index"]}
                place: dict[str, Any] = {}
                if info.picture_is_video:
                    chunk, number, start = (row[name] for name in video)
                    values = {"video_key": info.picture, "chunk_index": chunk, "file_index": number}
                    place = {"video_file": _file(info, document, "video_path", values), "video_start_s": float(start)}
                episodes.append(
                    EpisodeEntry(
                        index=int(row["episode_index"]),
                        length=_length(file, row["length"]),
                        data_file=_file(info, document, "data_path", indices),
                        success=bool(row.get("success", True)),
                        source=parse_json(row["source"], f"{file}, source") if row.get("source") else {},
                        **place,
                    )
                )
    return episodes


def _file(info: DatasetInfo, document: Mapping[str, Any], key: str, values: Mapping[str, str | int]) -> Path:
    """The path of a file of the data set, by its pattern in info.json."""
    where = f"{info.path / layout.INFO_PATH}: {key}"
    return path_inside(info.path, fill_template(document[key], values, where), where)


def _length(file: Path, value: Any) -> int:
    """Length of an episode, frames."""
    length = int(value)
    if not 0 <= length <= _MOST_FRAMES:
        raise InputError(f"{file}: expected episodes of at most {_MOST_FRAMES} frames, got {short_number(length)}")
    return length


def _tasks_v3(path: Path) -> dict[int, str]:
    file = path / layout.TASKS_PATH
    with named_in_errors(file):
        # The column of instructions is pandas' index: `task`, or without a name.
        opened = open_table(file)
        table = read_rows_of(file, opened, range(opened.num_row_groups), opened.schema_arrow.names)
        texts = [name for name in table.column_names if pa.types.is_string(table.schema.field(name).type)]
        texts += [name for name in table.column_names if pa.types.is_large_string(table.schema.field(name).type)]
        if len(texts) != 1 or "task_index" not in table.column_names:
            raise InputError(
                f"{file}: expected the columns task_index and task (text), got {', '.join(table.column_names)}"
            )
        tasks = dict(zip(table["task_index"].to_pylist(), table[texts[0]].to_pylist()))
        return _checked_tasks(file, tasks)


# --- v2.0, v2.1 -------------------------------------------------------------------------------------------------------


def _episodes_v2(info: DatasetInfo, document: Mapping[str, Any]) -> list[EpisodeEntry]:
    file = info.path / "meta/episodes.jsonl"
    episodes = []
    with named_in_errors(file):
        for row in json_lines(file):
            index = int(row["episode_index"])
            indices = {"episode_chunk": index // int(document["chunks_size"]), "episode_index": index}
            data = _file(info, document, "data_path", indices)
            video = None
            if info.picture_is_video:
                video = _file(info, document, "video_path", {"video_key": info.picture, **indices})
            episodes.append(EpisodeEntry(index, _length(file, row["length"]), data, video))
    return episodes


def _tasks_v2(path: Path) -> dict[int, str]:
    file = path / "meta/tasks.jsonl"
    with named_in_errors(file):
        return _checked_tasks(file, {int(row["task_index"]): str(row["task"]) for row in json_lines(file)})


def _checked_tasks(file: Path, tasks: dict[int, str]) -> dict[int, str]:
    for index, text in tasks.items():
        if text is not None:
            check_instruction(text, f"{file}, task {index}")
    return tasks
