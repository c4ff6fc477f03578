"""Turns demonstrations into the network's training samples.

Perception runs once over every episode, frame by frame and with the same classes as the live graph. The arrays that the
family's ``Preparation`` keeps are written to disk: for SpatialVLA 250 kB and about 10 ms a frame, once instead of in
every epoch.
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
from typing import Any, cast
from zipfile import BadZipFile

import cv2
import numpy as np

from stvla_ros.atomic_files import whole_folder
from stvla_ros.child_process import end_with_parent
from stvla_ros.errors import InputError
from stvla_ros.learning.datasets.open_data import DataReader
from stvla_ros.policy.inputs import InputsConfig
from stvla_ros.policy.observer import Observer
from stvla_ros.policy.samples import Preparation, Samples
from stvla_ros.safe_files import check_npz

_NUMBERS = "numbers.npz"
_PER_FRAME = ("actions", "executed", "states", "scene_points", "stamps", "episode", "last")


class FileRows:
    """Several files of rows of one kind as one array, one after the other; each data set has its own file.

    Rows are read when they are needed, by plain reads. A memory map reads several times as much around each row, and
    the disk is too slow for that once the files are larger than the memory.

    :param files: .npy files with rows of one shape and type.
    """

    def __init__(self, files: Sequence[Path]) -> None:
        maps = [np.load(file, mmap_mode="r") for file in files]
        self._shape, self._dtype = maps[0].shape[1:], maps[0].dtype
        self._begins = [each.offset for each in maps]
        self._ends = np.cumsum([len(each) for each in maps])
        self._firsts = self._ends - [len(each) for each in maps]
        self._files = [file.open("rb", buffering=0) for file in files]

    def __getitem__(self, indices: np.ndarray) -> np.ndarray:
        """:param indices: (B,) int64 indices of rows. :raises InputError: when the files were cut short."""
        rows = np.empty((len(indices), *self._shape), self._dtype)
        for row, index in zip(rows, indices, strict=True):
            part = np.searchsorted(self._ends, index, side="right")
            place = self._begins[part] + int(index - self._firsts[part]) * row.nbytes
            if os.preadv(self._files[part].fileno(), [row.data.cast("B")], place) != row.nbytes:
                raise InputError(f"data.cache: {self._files[part].name} is shorter than it was; delete its folder")
        return rows


@dataclass(frozen=True)
class PreparationJob:
    """The preparation of one data set.

    :param chosen: indices of the episodes.
    """

    reader: DataReader
    chosen: tuple[int, ...]
    inputs: InputsConfig
    preparation: Preparation

    def digest(self) -> str:
        """A hash of everything that the prepared frames depend on."""
        kind = type(self.preparation)
        content = [
            self.reader.identity(),
            list(map(int, self.chosen)),
            asdict(self.inputs),
            [kind.__module__, kind.__qualname__, asdict(cast(Any, self.preparation))],
            list(_PER_FRAME),
        ]
        return hashlib.sha256(json.dumps(content, default=str).encode()).hexdigest()[:16]


def prepare_samples(
    readers: Sequence[DataReader],
    chosen: Sequence[Sequence[int]],
    inputs: InputsConfig,
    preparation: Preparation,
    cache: Path,
    workers: int = 2,
) -> Samples:
    """Read the prepared frames of the chosen episodes, after preparing the missing ones.

    :param chosen: indices of the episodes to use, for each data set.
    :param preparation: preparation of the family.
    :param cache: folder that keeps the prepared frames; other episodes or other inputs get a folder of their own in it.
    :raises InputError: for unreadable data, or when the disk fails.
    """
    parts = [
        _part(PreparationJob(reader, tuple(numbers), inputs, preparation), cache, workers)
        for reader, numbers in zip(readers, chosen, strict=True)
    ]
    rows = {name: np.concatenate([part[name] for part in parts]) for name in _PER_FRAME}
    lengths = [len(part["actions"]) for part in parts]
    episodes = [len(part["instructions"]) for part in parts]
    starts, firsts = np.cumsum([0, *lengths[:-1]]), np.cumsum([0, *episodes[:-1]])
    return Samples(
        prepared={name: FileRows([part["folder"] / f"{name}.npy" for part in parts]) for name in preparation.arrays()},
        episode=rows.pop("episode") + np.repeat(firsts, lengths),
        last=rows.pop("last") + np.repeat(starts, lengths),
        instructions=tuple(text for part in parts for text in part["instructions"]),
        names=tuple(
            f"{reader.info.path}, episode {number}"
            for reader, numbers in zip(readers, chosen, strict=True)
            for number in numbers
        ),
        **rows,
    )


def _part(job: PreparationJob, cache: Path, workers: int) -> dict[str, Any]:
    """The prepared frames of one data set."""
    folder = cache / job.digest()
    if not folder.is_dir():
        try:
            with whole_folder(folder) as aside:
                _prepare(job, aside, workers)
        except OSError as error:
            raise InputError(f"data.cache {cache}: cannot be written ({error})") from error
    try:
        check_npz(folder / _NUMBERS)
        numbers = dict(np.load(folder / _NUMBERS))
    except (OSError, BadZipFile) as error:
        raise InputError(f"data.cache: {folder / _NUMBERS}: cannot be read ({error}); delete its folder") from None
    return {**numbers, "instructions": json.loads(str(numbers["instructions"])), "folder": folder}


def _prepare(job: PreparationJob, folder: Path, workers: int) -> None:
    from tqdm import tqdm

    reader = job.reader
    lengths = [int(reader.episode_lengths()[number]) for number in job.chosen]
    ends = np.cumsum(lengths)
    total = int(ends[-1])
    free, needed = shutil.disk_usage(folder).free, total * job.preparation.frame_bytes
    if free < needed:
        raise InputError(
            f"data.cache {folder.parent}: expected {needed / 1e9:.1f} GB of free disk, got {free / 1e9:.1f}"
        )
    for name, (shape, kind) in job.preparation.arrays().items():
        np.lib.format.open_memmap(folder / f"{name}.npy", "w+", kind, (total, *shape)).flush()
    tasks = [
        (reader, number, int(end - length), job.inputs, job.preparation, folder)
        for number, length, end in zip(job.chosen, lengths, ends, strict=True)
    ]
    with ProcessPoolExecutor(workers, get_context("spawn"), initializer=_begin_child) as pool:
        parts = list(tqdm(pool.map(_prepare_episode, tasks), total=len(tasks), desc="perception", unit="episode"))
    numbers: dict[str, Any] = {
        name: np.concatenate([part[name] for part in parts]) for name in parts[0] if name != "instruction"
    }
    np.savez(
        folder / _NUMBERS,
        **numbers,
        episode=np.repeat(np.arange(len(lengths)), lengths),
        last=np.repeat(ends - 1, lengths),
        instructions=np.array(json.dumps([part["instruction"] for part in parts])),
    )


def _begin_child() -> None:
    end_with_parent()
    cv2.setNumThreads(1)


def _prepare_episode(task: tuple) -> dict[str, Any]:
    """Write one episode's frames to their place in the files. :returns: its numbers."""
    reader, number, first, inputs, preparation, folder = task
    demonstration = reader.episode(number)
    observer = Observer(inputs)
    files = {name: np.load(folder / f"{name}.npy", mmap_mode="r+") for name in preparation.arrays()}
    frames = len(demonstration)
    for place, frame in enumerate(demonstration.frames(), first):
        depth = frame.depth
        if depth is None and preparation.takes_unknown_depth:
            depth = np.zeros(frame.rgb.shape[:2], np.uint16)
        seen = observer.observe(frame.rgb, depth, frame.intrinsics, frame.stamp, demonstration.instruction)
        for name, values in preparation(seen.given).items():
            files[name][place] = values
    unknown = {"states": (frames, 7), "scene_points": (frames, 3, 3)}
    given = {"states": demonstration.state, "scene_points": demonstration.scene_points}
    return {
        **{
            name: np.full(shape, np.nan, np.float32) if given[name] is None else given[name]
            for name, shape in unknown.items()
        },
        "actions": demonstration.action,
        "executed": demonstration.action if demonstration.executed_action is None else demonstration.executed_action,
        "stamps": demonstration.stamps,
        "instruction": demonstration.instruction,
    }
