"""The files of a LeRobotDataset while it is written: frames, videos and the table of episodes."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from stvla_ros.learning.datasets import demonstration as schema
from stvla_ros.learning.datasets.lerobot import format as layout
from stvla_ros.learning.datasets.lerobot.stats import FeatureStats
from stvla_ros.recordings.video_writer import VideoWriter

# Number of rows of the table of episodes that wait in memory: a row holds the statistics of every feature.
_EPISODES_AT_ONCE = 100


class _Numbering:
    """Chunk and file numbers, in the order of writing."""

    def __init__(self) -> None:
        self._count = -1

    def advance(self) -> None:
        self._count += 1

    @property
    def chunk_index(self) -> int:
        return self._count // layout.CHUNK_SIZE

    @property
    def file_index(self) -> int:
        return self._count % layout.CHUNK_SIZE


class DataFiles:
    """Parquet files of frames; each episode is one row group, so that it can be read alone."""

    def __init__(self, root: Path, columns: pa.Schema, max_bytes: int) -> None:
        self._root = root
        self._schema = columns
        self._max_bytes = max_bytes
        self._numbering = _Numbering()
        self._writer: pq.ParquetWriter | None = None
        self._bytes = 0

    def write(self, columns: Mapping[str, np.ndarray | list[dict[str, Any]]]) -> dict[str, int]:
        """Append an episode.

        :param columns: columns by name: numbers (T,) or (T, D), or T encoded pictures.
        :return: the file's place, for the table of episodes.
        """
        table = pa.table({field.name: _column(columns[field.name], field) for field in self._schema}, self._schema)
        if self._writer is None or self._bytes + table.nbytes > self._max_bytes:
            self._next_file()
        self._writer.write_table(table, row_group_size=table.num_rows)
        self._bytes += table.nbytes
        return {"data/chunk_index": self._numbering.chunk_index, "data/file_index": self._numbering.file_index}

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _next_file(self) -> None:
        self.close()
        self._numbering.advance()
        path = self._root / layout.DATA_PATH.format(
            chunk_index=self._numbering.chunk_index, file_index=self._numbering.file_index
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        # A dictionary of pictures would only cost memory, because no two of them are the same.
        self._writer = pq.ParquetWriter(path, self._schema, compression="snappy", use_dictionary=False)
        self._bytes = 0


def _column(values: np.ndarray | list[dict[str, Any]], field: pa.Field) -> pa.Array:
    if isinstance(values, np.ndarray) and values.ndim == 2:
        flat = pa.array(values.reshape(-1), field.type.value_type)
        return pa.FixedSizeListArray.from_arrays(flat, type=field.type)
    return pa.array(values, field.type)


class VideoFiles:
    """mp4 files of the colour pictures; each holds whole episodes, one after the other."""

    def __init__(self, root: Path, fps: float, max_bytes: int) -> None:
        self._root = root
        self._fps = fps
        self._max_bytes = max_bytes
        self._numbering = _Numbering()
        self._writer: VideoWriter | None = None

    def write(self, rgb: np.ndarray) -> dict[str, float]:
        """Append an episode.

        :param rgb: (T, H, W, 3) uint8.
        :return: its place, for the table of episodes.
        """
        if self._writer is None or self._writer.path.stat().st_size > self._max_bytes:
            self._next_file()
        first = self._writer.frames
        for picture in rgb:
            self._writer.write(picture)
        place = {
            "chunk_index": self._numbering.chunk_index,
            "file_index": self._numbering.file_index,
            "from_timestamp": first / self._fps,
            "to_timestamp": self._writer.frames / self._fps,
        }
        return {f"videos/{schema.PICTURE}/{name}": value for name, value in place.items()}

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()

    def info(self, shape: list[int]) -> dict[str, Any]:
        """The description of the videos for info.json.

        :param shape: height, width, channels.
        """
        height, width, channels = shape
        return {
            "video.fps": self._fps,
            "video.height": height,
            "video.width": width,
            "video.channels": channels,
            "video.codec": "h264",
            "video.pix_fmt": "yuv420p",
            "video.is_depth_map": False,
            "has_audio": False,
        }

    def _next_file(self) -> None:
        self.close()
        self._numbering.advance()
        path = layout.VIDEO_PATH.format(
            video_key=schema.PICTURE, chunk_index=self._numbering.chunk_index, file_index=self._numbering.file_index
        )
        self._writer = VideoWriter(self._root / path, self._fps)


class EpisodeTable:
    """`meta/episodes`: a row for each episode."""

    def __init__(self, root: Path) -> None:
        self._path = root / layout.EPISODES_PATH.format(chunk_index=0, file_index=0)
        self._rows: list[dict[str, Any]] = []
        self._writer: pq.ParquetWriter | None = None

    def add(self, row: Mapping[str, Any], stats: Mapping[str, FeatureStats]) -> None:
        """:param row: columns other than the statistics and the place of this table itself."""
        columns = {
            f"stats/{name}/{kind}": value.tolist() for name, feature in stats.items() for kind, value in feature.items()
        }
        self._rows.append({**row, **columns, "meta/episodes/chunk_index": 0, "meta/episodes/file_index": 0})
        if len(self._rows) >= _EPISODES_AT_ONCE:
            self._flush()

    def close(self) -> None:
        self._flush()
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _flush(self) -> None:
        if not self._rows:
            return
        table = pa.Table.from_pylist(self._rows, schema=self._writer.schema if self._writer else None)
        if self._writer is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._writer = pq.ParquetWriter(self._path, table.schema, compression="snappy")
        self._writer.write_table(table)
        self._rows.clear()
