"""Latent actions on the disk: a parquet file with a row for each frame."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from stvla_ros.atomic_files import whole_file
from stvla_ros.errors import InputError, reason_of
from stvla_ros.learning.datasets.lerobot.parquet import open_table, read_rows_of

_COLUMNS = ("episode", "frame", "stamp", "valid", "ids", "codes")
_ABOUT = b"stvla_latent"


@dataclass(frozen=True, eq=False)
class StoredActions:
    """As a model's ``encode`` gives them.

    :param codes: (N, T, Q, C) float32.
    :param ids: (N, T, Q) int64.
    :param valid: (N, T) bool.
    """

    codes: np.ndarray
    ids: np.ndarray
    valid: np.ndarray


@dataclass(frozen=True, eq=False)
class Codes:
    """
    :param actions: latent actions of N frames.
    :param episodes: (N,) int64 episode of each frame.
    :param stamps: (N,) int64 stamp of each frame, nanoseconds.
    :param keyframes_s: times of the keyframes, seconds.
    """

    actions: StoredActions
    episodes: np.ndarray
    stamps: np.ndarray
    keyframes_s: tuple[float, ...]


def write_codes(file: Path, samples: Any, actions: Any, keyframes_s: tuple[float, ...]) -> None:
    """Columns: episode, frame (in the episode), stamp (nanoseconds), valid (T), ids (T Q), codes (T Q C), the last two
    row by row. The file's metadata have the keyframes and the shape.

    :param file: parquet file to write.
    :param samples: prepared frames of the source.
    :param actions: latent actions of all of them.
    :param keyframes_s: times of the keyframes, seconds.
    """
    count = len(samples.stamps)
    firsts = np.searchsorted(samples.episode, samples.episode)
    _, keyframes, queries, width = actions.codes.shape
    about = {"keyframes_s": list(keyframes_s), "shape": [keyframes, queries, width]}
    columns = {
        "episode": pa.array(samples.episode, pa.int64()),
        "frame": pa.array(np.arange(count) - firsts, pa.int64()),
        "stamp": pa.array(samples.stamps, pa.int64()),
        "valid": _lists(actions.valid, pa.bool_()),
        "ids": _lists(actions.ids, pa.int64()),
        "codes": _lists(actions.codes, pa.float32()),
    }
    table = pa.table(columns).replace_schema_metadata({_ABOUT: json.dumps(about)})
    with whole_file(file) as aside:
        pq.write_table(table, aside)


def read_codes(file: Path) -> Codes:
    """:raises InputError: for a file that is not of ``write_codes``."""
    try:
        opened = open_table(file)
        about = json.loads((opened.schema_arrow.metadata or {})[_ABOUT])
        shape, keyframes_s = tuple(map(int, about["shape"])), tuple(map(float, about["keyframes_s"]))
        table = read_rows_of(file, opened, range(opened.num_row_groups), _COLUMNS)
        count = table.num_rows
        numbers = {
            name: np.asarray(
                table[name].combine_chunks().flatten() if pa.types.is_list(table[name].type) else table[name]
            )
            for name in _COLUMNS
        }
        actions = StoredActions(
            numbers["codes"].reshape(count, *shape).astype(np.float32),
            numbers["ids"].reshape(count, *shape[:2]),
            numbers["valid"].reshape(count, shape[0]).astype(bool),
        )
        if not np.isfinite(actions.codes).all():
            raise InputError("expected finite codes")
        return Codes(actions, numbers["episode"], numbers["stamp"], keyframes_s)
    except Exception as error:  # damage shows in whatever is done with a value
        raise InputError(f"codes {file}: expected a file of stvla latent encode ({reason_of(error)})") from None


def use_of(actions: Any, codes: int) -> np.ndarray:
    """(T, codes) int64: how often each code is used, by keyframe, of those that there are.

    :param actions: latent actions.
    :param codes: vectors of the codebook.
    """
    keyframes = actions.valid.shape[1]
    return np.stack(
        [np.bincount(actions.ids[actions.valid[:, k], k].ravel(), minlength=codes) for k in range(keyframes)]
    )


def bits_of(actions: Any, codes: int) -> list[float]:
    """The most that the codes of each keyframe can tell of a frame, bits: entropies of its queries' use, summed. Codes
    that differ from query to query alone tell nothing.

    :param actions: latent actions.
    :param codes: vectors of the codebook.
    """
    found = []
    for place in range(actions.valid.shape[1]):
        counts = [np.bincount(ids, minlength=codes) for ids in actions.ids[actions.valid[:, place], place].T]
        shares = [each[each > 0] / each.sum() for each in counts if each.sum()]
        found.append(float(sum(-(share * np.log2(share)).sum() for share in shares)))
    return found


def _lists(values: np.ndarray, kind: pa.DataType) -> pa.Array:
    """A list for each row."""
    flat = values.reshape(len(values), -1)
    offsets = np.arange(len(flat) + 1, dtype=np.int32) * flat.shape[1]
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(flat.ravel(), kind))
