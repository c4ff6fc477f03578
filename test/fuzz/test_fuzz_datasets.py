"""LeRobotDatasets that are damaged in any way, in their bytes or in what they say, are refused with one line."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from examples import examples
from foreign_dataset import write_bridge_dataset
from hypothesis import given
from hypothesis import strategies as st
from made_demonstrations import make_demonstration
from mutations import changed_tree, damaged, only_bad_input

from stvla_ros.learning.datasets.lerobot.reader import LeRobotReader
from stvla_ros.learning.datasets.lerobot.writer import LeRobotWriter


def ours(folder: Path) -> None:
    with LeRobotWriter(folder, "widowx") as writer:
        for seed in range(2):
            writer.add_episode(make_demonstration(seed, frames=3, size=(8, 6)))


def foreign(folder: Path) -> None:
    write_bridge_dataset(folder, episodes=2, frames=3, size=(16, 16), version="v2.1")


MAKERS: dict[str, Callable[[Path], None]] = {"v3.0": ours, "v2.1": foreign}


@pytest.fixture(params=MAKERS)
def whole(request, tmp_path: Path) -> Iterator[dict[str, bytes]]:
    folder = tmp_path / "whole"
    MAKERS[request.param](folder)
    return Files({str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()})


class Files(dict[str, bytes]):
    """By name; shown by their names alone when a test fails."""

    def __repr__(self) -> str:
        return f"Files({', '.join(self)})"


def read_all(folder: Path) -> None:
    reader = LeRobotReader(folder)
    assert len(reader.instructions()) == len(reader) == len(reader.episode_lengths())
    assert np.isfinite(reader.actions()).all()
    for number in range(len(reader)):
        episode = reader.episode(number)
        assert np.isfinite(episode.action).all() and episode.instruction.strip()


columns = st.sampled_from(
    [
        pa.array(["a", "b"]),
        pa.array([None, None], pa.int64()),
        pa.array([float("nan"), float("inf")]),
        pa.array([1, -1]),
        pa.array([2**63 - 1, 2**62]),
        pa.array([[1.0] * 7, [float("nan")] * 7]),
        pa.array([["x"] * 7, ["y"] * 7]),
        pa.array([[], [1.0]]),
        pa.array([True, False]),
        pa.array([{"bytes": b"x"}, {"bytes": None}]),
        pa.array([{"bytes": 5}, {"bytes": 6}]),
        pa.array([{"bytes": "text"}, {"bytes": "text"}]),
        pa.array(["{", '{"a": 1}']),
        pa.array([b"\xff", b""]),
    ]
)


@st.composite
def changed_table(draw: st.DrawFn, content: bytes) -> bytes:
    """A table of which a column is another, is missing, or is there twice, or rows are."""
    table = pq.read_table(pa.BufferReader(content))
    kind = draw(st.sampled_from(["other", "other", "other", "missing", "twice", "rows", "order"]))
    place = draw(st.integers(0, table.num_columns - 1))
    if kind == "other":
        column = draw(columns).take(pa.array([row % 2 for row in range(table.num_rows)]))
        table = table.set_column(place, table.column_names[place], column)
    elif kind == "missing":
        table = table.remove_column(place)
    elif kind == "twice":
        table = table.append_column(table.column_names[place], table.column(place))
    elif kind == "rows":
        table = table.slice(draw(st.integers(0, table.num_rows)))
    else:
        table = table.take(pa.array(draw(st.permutations(range(table.num_rows))), pa.int64()))
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    return sink.getvalue().to_pybytes()


def changed_json(content: bytes) -> st.SearchStrategy[bytes]:
    def dump(document: Any) -> bytes:
        return json.dumps(document).encode()

    whole_lines = content.splitlines()
    try:
        return changed_tree(json.loads(content)).map(dump)
    except ValueError:  # a JSON document a line
        first = changed_tree(json.loads(whole_lines[0])).map(dump)
        return first.map(lambda line: b"\n".join([line, *whole_lines[1:]]))


@examples(quick=15)
@given(data=st.data())
def test_fuzz_dataset(whole, tmp_path, data):
    folder = tmp_path / "broken"
    shutil.rmtree(folder, ignore_errors=True)
    broken = data.draw(st.sampled_from(sorted(whole)))
    for name, content in whole.items():
        if name == broken:
            text = name.endswith(("json", "jsonl"))
            options = [damaged(content, text=text)]
            options += [changed_json(content)] * 2 if text else []
            options += [changed_table(content)] * 2 if name.endswith("parquet") else []
            content = data.draw(st.one_of(options))
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    with only_bad_input(str(folder)):
        read_all(folder)
