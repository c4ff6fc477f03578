"""A small data set as others publish them: BridgeData V2's conversion to LeRobot in shape and names.

Written with PyArrow and PyAV directly, so that what reads it is not tested against our own writer. Feature names as in
the data set bridge_orig_lerobot: pictures `observation.images.image_0` in AV1, an 8-D state with a padding element, a
7-D action of end-effector deltas, names in `motors`; no depth, no intrinsics.
"""

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

FPS = 5
_NOBODY = 65534
PICTURE = "observation.images.image_0"
ACTION_NAMES = ["x", "y", "z", "roll", "pitch", "yaw", "gripper"]
STATE_NAMES = ["x", "y", "z", "roll", "pitch", "yaw", "pad", "gripper"]
INSTRUCTIONS = ("put the red block on the towel", "move the red block to the left")


def write_bridge_dataset(
    folder: Path,
    episodes: int = 3,
    frames: int = 12,
    size: tuple[int, int] = (64, 64),
    seed: int = 0,
    version: str = "v3.0",
    instructions: Sequence[str] = INSTRUCTIONS,
) -> Path:
    """A red block moves to its goal in smooth steps, and the action is that step: there is something to learn.

    :param frames: of the first episode; each next one has one more.
    :param size: width, height; even.
    :param version: v3.0 (all episodes in one file and one row group) or v2.1 (files for each).
    """
    made = [_Episode(index, frames + index, size, seed + index, index % len(instructions)) for index in range(episodes)]
    (folder / "meta").mkdir(parents=True)
    (_write_v3 if version == "v3.0" else _write_v2)(folder, made, instructions)
    new = version == "v3.0"
    info = {
        "codebase_version": version,
        "robot_type": "widowx",
        "total_episodes": episodes,
        "total_frames": sum(len(episode.action) for episode in made),
        "total_tasks": len(instructions),
        "chunks_size": 1000,
        "fps": FPS,
        "splits": {"train": f"0:{episodes}"},
        "data_path": "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
        if new
        else "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet",
        "video_path": "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
        if new
        else "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4",
        "features": _features(size),
    }
    (folder / "meta/info.json").write_text(json.dumps(info, indent=4))
    return folder


class _Episode:
    def __init__(self, index: int, frames: int, size: tuple[int, int], seed: int, task: int) -> None:
        random = np.random.default_rng(seed)
        width, height = size
        start, goal = random.uniform(0.2, 0.8, (2, 2))
        share = np.linspace(0, 1, frames + 1)[:, None]
        place = start + (goal - start) * (3 * share**2 - 2 * share**3)
        rows, columns = np.mgrid[:height, :width]
        background = np.stack([60 + 0 * rows, 90 + 40 * rows // height, 110 + 40 * columns // width], axis=-1)
        pictures = np.tile(background.astype(np.uint8), (frames, 1, 1, 1))
        for picture, (x, y) in zip(pictures, place):
            block = (abs(columns - x * width) < width / 8) & (abs(rows - y * height) < height / 8)
            picture[block] = (220, 30, 30)
        self.pictures = pictures
        self.action = np.zeros((frames, 7), np.float32)
        self.action[:, :2] = 0.3 * np.diff(place, axis=0)
        self.action[:, 2:6] = random.normal(0, 0.01, (frames, 4))
        self.action[:, 6] = np.arange(frames) < frames // 2
        self.state = np.zeros((frames, 8), np.float32)
        self.state[:, :2] = 0.3 * place[:-1]
        self.state[:, 7] = self.action[:, 6]
        self.index, self.task = index, task

    def columns(self, first: int) -> dict[str, Any]:
        frames = len(self.action)
        number = np.arange(frames)
        return {
            "observation.state": list(self.state),
            "action": list(self.action),
            "timestamp": (number / FPS).astype(np.float32),
            "frame_index": number,
            "episode_index": np.full(frames, self.index),
            "index": number + first,
            "task_index": np.full(frames, self.task),
        }


def _features(size: tuple[int, int]) -> dict[str, Any]:
    width, height = size
    video = {
        "video.fps": float(FPS),
        "video.height": height,
        "video.width": width,
        "video.channels": 3,
        "video.codec": "av1",
        "video.pix_fmt": "yuv420p",
        "video.is_depth_map": False,
        "has_audio": False,
    }
    features: dict[str, Any] = {
        PICTURE: {"dtype": "video", "shape": [height, width, 3], "names": ["height", "width", "rgb"], "info": video},
        "observation.state": {"dtype": "float32", "shape": [8], "names": {"motors": STATE_NAMES}},
        "action": {"dtype": "float32", "shape": [7], "names": {"motors": ACTION_NAMES}},
        "timestamp": {"dtype": "float32", "shape": [1], "names": None},
    }
    for name in ("frame_index", "episode_index", "index", "task_index"):
        features[name] = {"dtype": "int64", "shape": [1], "names": None}
    return features


def _write_v3(folder: Path, episodes: list[_Episode], instructions: Sequence[str]) -> None:
    tables, rows, first = [], [], 0
    for episode in episodes:
        tables.append(pa.table(episode.columns(first)))
        length = len(episode.action)
        row = {"episode_index": episode.index, "tasks": [instructions[episode.task]], "length": length}
        row |= {"data/chunk_index": 0, "data/file_index": 0}
        row |= {"dataset_from_index": first, "dataset_to_index": first + length}
        place = {
            "chunk_index": 0,
            "file_index": 0,
            "from_timestamp": first / FPS,
            "to_timestamp": (first + length) / FPS,
        }
        rows.append(row | {f"videos/{PICTURE}/{name}": value for name, value in place.items()})
        first += length
    _write_table(folder / "data/chunk-000/file-000.parquet", pa.concat_tables(tables))
    _write_table(folder / "meta/episodes/chunk-000/file-000.parquet", pa.Table.from_pylist(rows))
    # As pandas writes an index that has no name.
    tasks = {"task_index": range(len(instructions)), "__index_level_0__": list(instructions)}
    _write_table(folder / "meta/tasks.parquet", pa.table(tasks))
    pictures = np.concatenate([episode.pictures for episode in episodes])
    _write_video(folder / f"videos/{PICTURE}/chunk-000/file-000.mp4", pictures)


def _write_v2(folder: Path, episodes: list[_Episode], instructions: Sequence[str]) -> None:
    first = 0
    for episode in episodes:
        name = f"episode_{episode.index:06d}"
        _write_table(folder / f"data/chunk-000/{name}.parquet", pa.table(episode.columns(first)))
        _write_video(folder / f"videos/chunk-000/{PICTURE}/{name}.mp4", episode.pictures)
        first += len(episode.action)
    rows = [{"episode_index": e.index, "tasks": [instructions[e.task]], "length": len(e.action)} for e in episodes]
    tasks = [{"task_index": index, "task": text} for index, text in enumerate(instructions)]
    for name, lines in (("episodes", rows), ("tasks", tasks)):
        (folder / f"meta/{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def _write_table(path: Path, table: pa.Table) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path)


def _write_video(path: Path, pictures: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # Opened here: the encoding itself is done by a user who may not.
    with path.open("wb") as file, av.open(file, "w", format="mp4") as container:
        # lerobot's encoder and key frames, but a better quality: at so few pixels its own blurs the block's motion.
        stream = container.add_stream("libsvtav1", rate=Fraction(FPS), options={"g": "2", "crf": "20", "preset": "6"})
        stream.width, stream.height, stream.pix_fmt = pictures.shape[2], pictures.shape[1], "yuv420p"
        with _without_realtime():
            for picture in pictures:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            container.mux(stream.encode())


@contextmanager
def _without_realtime() -> Iterator[None]:
    """SVT-AV1 run by root gives its 40 threads, and its caller's, the highest realtime priority; they live on after the
    encoding, all that a later test starts inherits it, and two busy ones stop the whole machine. Another user may not.
    """
    user = os.geteuid()
    if user == 0:
        os.seteuid(_NOBODY)
    try:
        yield
    finally:
        os.seteuid(user)
