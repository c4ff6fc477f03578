"""Git LFS pointers, which stand in the place of a repository's large files until they are pulled."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from refusals import refusal

from stvla_ros.learning.datasets.lerobot.parquet import open_table
from stvla_ros.policy.checkpoints import read_json
from stvla_ros.policy.stored_weights import open_tensors
from stvla_ros.recordings.open_recording import open_recording
from stvla_ros.safe_files import json_lines

POINTER = (
    "version https://git-lfs.github.com/spec/v1\n"
    "oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345678\n"
)


def tensors(file: Path) -> None:
    with open_tensors(file):
        pass


READERS: dict[str, Callable[[Path], object]] = {
    "model.safetensors": tensors,
    "tokenizer.json": read_json,
    "file-000.parquet": open_table,
    "tasks.jsonl": lambda file: list(json_lines(file)),
    "demo.mcap": open_recording,
    "demo.db3": open_recording,
    "video.mp4": open_recording,
}


@pytest.mark.parametrize("name", READERS)
def test_a_pointer_is_named_as_one(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(POINTER)
    said = refusal(lambda: READERS[name](tmp_path / name), tmp_path / name)
    assert "is a Git LFS pointer in place of the file: run `git lfs pull` in its repository" in said


def test_a_folder_of_a_bag_whose_file_is_a_pointer(tmp_path: Path) -> None:
    shutil.copy(Path(__file__), tmp_path / "notes.txt")
    (tmp_path / "bag_0.mcap").write_text(POINTER)
    assert "is a Git LFS pointer" in refusal(lambda: open_recording(tmp_path), tmp_path)


def test_a_small_file_that_speaks_of_git_lfs_is_no_pointer(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "version https://git-lfs.github.com/spec/v1"}\n')
    assert len(list(json_lines(tmp_path / "a.jsonl"))) == 1
