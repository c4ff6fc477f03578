"""From demonstrations to what the network is trained on.

Perception runs once over every episode, frame by frame and with the very classes of the live graph, and its results
are kept on disk: 224 x 224 pictures (uint8) and depth maps (float16, half a millimetre at a metre). A frame costs
250 kB there and about 10 ms once, instead of 10 ms in every epoch.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from stvla_ros.atomic_files import whole_folder
from stvla_ros.child_process import end_with_parent
from stvla_ros.errors import InputError
from stvla_ros.learning.datasets.lerobot.reader import LeRobotReader
from stvla_ros.policy.inputs import InputsConfig
from stvla_ros.policy.observer import Observer
from stvla_ros.policy.pictures import prepare_depth, prepare_picture, scale_intrinsics

_PICTURES, _DEPTHS, _NUMBERS = "pictures.npy", "depths.npy", "numbers.npz"
_PER_FRAME = ("intrinsics", "actions", "scene_points", "episode", "last")


@dataclass(frozen=True, eq=False)
class Samples:
    """N frames of all episodes, one after the other; S = 224.

    :param pictures: (N, S, S, 3) uint8; of this and ``depths`` only rows can be asked for, see ``Rows``.
    :param depths: (N, S, S) float16 metres, all known.
    :param intrinsics: (N, 3, 3) float32 in pixels of S x S.
    :param actions: (N, 7) float32 metres, radians, opening.
    :param scene_points: (N, 3, 3) float32 metres in the camera's frame, NaN where unknown.
    :param episode: (N,) int64, number of the frame's episode.
    :param last: (N,) int64, index of its episode's last frame.
    :param instructions: of each episode.
    """

    pictures: "Rows"
    depths: "Rows"
    intrinsics: np.ndarray
    actions: np.ndarray
    scene_points: np.ndarray
    episode: np.ndarray
    last: np.ndarray
    instructions: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.actions)


class Rows:
    """Several files of one kind of rows as one array, one after the other: each data set has its own.

    Rows are read as they are asked for, by plain reads: a memory map reads several times as much around each, which
    the disk cannot keep up with once the files are larger than the memory.

    :param files: .npy files of rows of one shape and type.
    """

    def __init__(self, files: Sequence[Path]) -> None:
        maps = [np.load(file, mmap_mode="r") for file in files]
        self._shape, self._dtype = maps[0].shape[1:], maps[0].dtype
        self._begins = [each.offset for each in maps]
        self._ends = np.cumsum([len(each) for each in maps])
        self._firsts = self._ends - [len(each) for each in maps]
        self._files = [file.open("rb", buffering=0) for file in files]

    def __getitem__(self, indices: np.ndarray) -> np.ndarray:
        """:param indices: (B,) int64. :raises InputError: when the files were cut short."""
        rows = np.empty((len(indices), *self._shape), self._dtype)
        for row, index in zip(rows, indices, strict=True):
            part = np.searchsorted(self._ends, index, side="right")
            place = self._begins[part] + int(index - self._firsts[part]) * row.nbytes
            if os.preadv(self._files[part].fileno(), [row.data.cast("B")], place) != row.nbytes:
                raise InputError(f"data.cache: {self._files[part].name} is shorter than it was; delete its folder")
        return rows


def prepare_samples(
    readers: Sequence[LeRobotReader],
    chosen: Sequence[Sequence[int]],
    inputs: InputsConfig,
    size: int,
    default_intrinsics: tuple[np.ndarray, tuple[int, int]],
    cache: Path,
    workers: int = 2,
) -> Samples:
    """Read the prepared frames of the chosen episodes, after preparing what is not there yet.

    :param chosen: numbers of the episodes to use, for each data set.
    :param default_intrinsics: matrix and (width, height) for data without its own.
    :param cache: folder that keeps them; another choice or other inputs get a folder of their own in it.
    :raises InputError: for data that cannot be read, or a disk that does not take it.
    """
    parts = [
        _part(reader, numbers, inputs, size, default_intrinsics, cache, workers)
        for reader, numbers in zip(readers, chosen, strict=True)
    ]
    numbers = {name: np.concatenate([part[name] for part in parts]) for name in _PER_FRAME}
    lengths = [len(part["actions"]) for part in parts]
    episodes = [len(part["instructions"]) for part in parts]
    starts, firsts = np.cumsum([0, *lengths[:-1]]), np.cumsum([0, *episodes[:-1]])
    return Samples(
        pictures=Rows([part["pictures"] for part in parts]),
        depths=Rows([part["depths"] for part in parts]),
        episode=numbers.pop("episode") + np.repeat(firsts, lengths),
        last=numbers.pop("last") + np.repeat(starts, lengths),
        instructions=tuple(text for part in parts for text in part["instructions"]),
        **numbers,
    )


def _part(reader, chosen, inputs, size, default_intrinsics, cache: Path, workers: int) -> dict[str, Any]:
    """The prepared frames of one data set."""
    folder = cache / _digest(reader, chosen, inputs, size, default_intrinsics)
    if not folder.is_dir():
        try:
            with whole_folder(folder) as aside:
                _prepare(reader, chosen, inputs, size, default_intrinsics, aside, workers)
        except OSError as error:
            raise InputError(f"data.cache {cache}: cannot be written ({error})") from error
    numbers = dict(np.load(folder / _NUMBERS))
    return {
        **numbers,
        "instructions": json.loads(str(numbers["instructions"])),
        "pictures": folder / _PICTURES,
        "depths": folder / _DEPTHS,
    }


def _digest(reader, chosen, inputs, size, default_intrinsics) -> str:
    """Names what the prepared frames depend on."""
    content = [
        [str(reader.info.path.resolve()), (reader.info.path / "meta/info.json").stat().st_mtime_ns],
        list(map(int, chosen)),
        asdict(inputs),
        reader.info.picture,
        size,
        [default_intrinsics[0].tolist(), list(default_intrinsics[1])],
    ]
    return hashlib.sha256(json.dumps(content, default=str).encode()).hexdigest()[:16]


def _prepare(reader, chosen, inputs, size, default_intrinsics, folder: Path, workers: int) -> None:
    from tqdm import tqdm

    lengths = [int(reader.episode_lengths()[number]) for number in chosen]
    ends = np.cumsum(lengths)
    total = int(ends[-1])
    free, needed = shutil.disk_usage(folder).free, total * size * size * 5
    if free < needed:
        raise InputError(
            f"data.cache {folder.parent}: expected {needed / 1e9:.1f} GB of free disk, got {free / 1e9:.1f}"
        )
    np.lib.format.open_memmap(folder / _PICTURES, "w+", np.uint8, (total, size, size, 3)).flush()
    np.lib.format.open_memmap(folder / _DEPTHS, "w+", np.float16, (total, size, size)).flush()
    jobs = [
        (reader.info.path, reader.info.picture, number, int(end - length), inputs, size, default_intrinsics, folder)
        for number, length, end in zip(chosen, lengths, ends, strict=True)
    ]
    with ProcessPoolExecutor(workers, get_context("spawn"), initializer=_begin_child) as pool:
        parts = list(tqdm(pool.map(_prepare_episode, jobs), total=len(jobs), desc="perception", unit="episode"))
    np.savez(
        folder / _NUMBERS,
        intrinsics=np.concatenate([part["intrinsics"] for part in parts]),
        actions=np.concatenate([part["actions"] for part in parts]),
        scene_points=np.concatenate([part["scene_points"] for part in parts]),
        episode=np.repeat(np.arange(len(lengths)), lengths),
        last=np.repeat(ends - 1, lengths),
        instructions=np.array(json.dumps([part["instruction"] for part in parts])),
    )


def _begin_child() -> None:
    end_with_parent()
    cv2.setNumThreads(1)


def _prepare_episode(job) -> dict:
    """Write one episode's frames to their place in the files. :returns: its numbers."""
    path, picture, number, first, inputs, size, (default, default_size), folder = job
    demonstration = LeRobotReader(path, picture).episode(number)
    observer = Observer(inputs)
    pictures = np.load(folder / _PICTURES, mmap_mode="r+")
    depths = np.load(folder / _DEPTHS, mmap_mode="r+")
    height, width = demonstration.rgb.shape[1:3]
    for frame in range(len(demonstration)):
        seen = observer.observe(
            demonstration.rgb[frame],
            None if demonstration.depth is None else demonstration.depth[frame],
            demonstration.intrinsics,
            int(demonstration.stamps[frame]),
            demonstration.instruction,
        ).given.picture
        row = first + frame
        prepared = prepare_picture(seen.rgb, size, inputs.resize)
        pictures[row] = np.round(255.0 * prepared.transpose(1, 2, 0)).astype(np.uint8)
        depths[row] = prepare_depth(seen.depth, (width, height), size).astype(np.float16)
    given = demonstration.intrinsics
    k = (
        scale_intrinsics(default, default_size, size)
        if given is None
        else scale_intrinsics(given, (width, height), size)
    )
    points = demonstration.scene_points
    return {
        "intrinsics": np.repeat(k[None], len(demonstration), axis=0),
        "actions": demonstration.action,
        "scene_points": np.full((len(demonstration), 3, 3), np.nan, np.float32) if points is None else points,
        "instruction": demonstration.instruction,
    }
