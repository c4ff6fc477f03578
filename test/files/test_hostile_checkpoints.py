"""Checkpoints whose small files take the reader for ever, and weights whose headers lie."""

import json
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from refusals import refusal
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from stvla_ros import cli
from stvla_ros.errors import InputError
from stvla_ros.policy.checkpoints import WEIGHTS, read_json
from stvla_ros.policy.stored_weights import stored_shapes, weight_files
from stvla_ros.policy.tokenizer_files import checked_tokenizer
from stvla_ros.safe_files import VARIABLE
from stvla_ros.shared_files import default_checkpoint

# --- tokenizers -------------------------------------------------------------------------------------------------------


def tokenizer(**parts: Any) -> bytes:
    return json.dumps({**json.loads(Tokenizer(models.BPE()).to_str()), **parts}).encode()


def split(pattern: Any) -> dict[str, Any]:
    return {"type": "Split", "pattern": pattern, "behavior": "Isolated", "invert": False}


def replaced(searched: str, content: str) -> dict[str, Any]:
    return {"type": "Replace", "pattern": {"String": searched}, "content": content}


def sequence(*steps: Any) -> dict[str, Any]:
    return {"type": "Sequence", "normalizers": list(steps), "pretokenizers": list(steps)}


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ({"pre_tokenizer": split({"Regex": "(a+)+$"})}, "no regular expression"),
        ({"pre_tokenizer": sequence(sequence(split({"Regex": "(a|aa)+$"})))}, "no regular expression"),
        ({"normalizer": {"type": "Replace", "pattern": {"Regex": "(.*)*x"}, "content": ""}}, "no regular expression"),
        ({"normalizer": sequence(*[replaced("a", "a" * 10)] * 9)}, "1000 times as long"),
        ({"normalizer": replaced("", "x" * 100)}, "literal text"),
        ({"normalizer": {"type": "Prepend", "prepend": "x" * 100_000}}, "1000 times as long"),
        ({"normalizer": sequence(*[{"type": "Lowercase"}] * 100)}, "at most 32 parts"),
        # The library ends with a panic, which is no exception that anybody expects.
        ({"normalizer": {"type": "Precompiled", "precompiled_charsmap": "AAAA"}}, "expected one of"),
        ({"normalizer": {"type": ["Replace"]}}, "expected one of"),
        ({"pre_tokenizer": "Split"}, "expected one of"),
        ({"pre_tokenizer": {"type": "FixedLength", "length": 0}}, "expected one of"),
        ({"model": None}, "expected a tokenizer"),
    ],
)
def test_a_tokenizer_that_may_take_for_ever_is_refused(parts: dict[str, Any], said: str) -> None:
    assert said in refusal(lambda: checked_tokenizer(tokenizer(**parts), "tokenizer.json"), "tokenizer.json")


@pytest.mark.parametrize("content", [b"[" * 200_000, b"[[],[]" + b",[]" * 4_000_000 + b"]", b"[1]", b"{", b"\xff"])
def test_a_tokenizer_that_is_none_is_refused(content: bytes) -> None:
    refusal(lambda: checked_tokenizer(content, "tokenizer.json"), "tokenizer.json")


def test_tokenizers_of_the_known_kinds_are_read() -> None:
    made = Tokenizer(models.BPE())
    steps = [normalizers.NFKC(), normalizers.Replace(" ", "▁"), normalizers.Prepend("▁"), normalizers.Lowercase()]
    made.normalizer = normalizers.Sequence(steps)
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(" ", "merged_with_previous"), pre_tokenizers.Digits(), pre_tokenizers.ByteLevel()]
    )
    assert checked_tokenizer(made.to_str().encode(), "tokenizer.json").normalizer is not None
    checked_tokenizer((default_checkpoint() / "tokenizer.json").read_bytes(), "tokenizer.json")


# --- JSON -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content", [b"[" * 200_000, b'{"a":' * 200_000, b"9" * 100_000, b" " * 9_000_000, b"\xff", b""]
)
def test_a_small_file_that_is_deep_or_long_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "config.json").write_bytes(content)
    refusal(lambda: read_json(tmp_path / "config.json"), tmp_path / "config.json")


def test_a_pipe_in_the_place_of_a_small_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "config.json")
    assert "expected a file" in refusal(lambda: read_json(tmp_path / "config.json"), tmp_path / "config.json")


# --- weights ----------------------------------------------------------------------------------------------------------


def tensor(shape: list[int], begin: int, end: int, dtype: str = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def weights(folder: Path, header: Any, data: int = 8, length: int | None = None) -> Path:
    content = header if isinstance(header, bytes) else json.dumps(header).encode()
    stated = len(content) if length is None else length
    (folder / WEIGHTS).write_bytes(struct.pack("<Q", stated) + content + bytes(data))
    return folder / WEIGHTS


def shapes_of(folder: Path) -> Callable[[], object]:
    return lambda: stored_shapes(weight_files(folder))


TWICE = b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}'


@pytest.mark.parametrize(
    ("header", "options"),
    [
        ({"a": tensor([2], 0, 8)}, {"data": 4}),
        ({"a": tensor([2], 0, 8)}, {"data": 12}),
        ({"a": tensor([2], 0, 8)}, {"length": 2**40}),
        ({"a": tensor([2], 0, 8)}, {"length": 2**64 - 1}),
        ({"a": tensor([2], 0, 8)}, {"length": 3}),
        ({"a": tensor([2], 0, 8), "b": tensor([2], 4, 12)}, {"data": 12}),
        ({"a": tensor([2], 0, 8), "b": tensor([2], 0, 8)}, {}),
        ({"a": tensor([1], 0, 4), "b": tensor([1], 8, 12)}, {"data": 12}),
        ({"a": tensor([3], 0, 8)}, {}),
        ({"a": tensor([-2], 0, 8)}, {}),
        ({"a": tensor([2**62, 4], 0, 8)}, {}),
        ({"a": tensor([2], 0, 8, "I64")}, {}),
        ({"a": tensor([2], 8, 0)}, {}),
        (TWICE, {}),
        (b"[" * 100_000, {}),
        (b"{}" + b" " * 20_000_000, {}),
    ],
)
def test_a_header_that_lies_is_refused(tmp_path: Path, header: Any, options: dict[str, int]) -> None:
    file = weights(tmp_path, header, **options)
    refusal(shapes_of(tmp_path), file)


def test_weights_that_are_not_on_the_disk_are_refused(tmp_path: Path) -> None:
    size = 4 * 50_000_000_000
    file = weights(tmp_path, {"a": tensor([size // 4], 0, size)}, data=0)
    os.truncate(file, file.stat().st_size + size)
    assert "the rest is a hole" in refusal(shapes_of(tmp_path), file)


@pytest.mark.parametrize("name", ["../model.safetensors", "/etc/passwd", "a/b.safetensors", "model.bin", "x" * 5000])
def test_an_index_that_names_files_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": name}}))
    assert "beside it" in refusal(lambda: weight_files(tmp_path), index)


def test_the_command_says_the_same_line_as_the_reader(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for file in default_checkpoint().iterdir():
        if file.name != WEIGHTS:
            (tmp_path / file.name).write_bytes(file.read_bytes())
    weights(tmp_path, {"a": tensor([3], 0, 8)})
    expected = refusal(shapes_of(tmp_path), tmp_path)
    with pytest.raises(SystemExit):
        cli.main(["model", "inspect", "--checkpoint", str(tmp_path)])
    assert capsys.readouterr().err.strip().splitlines() == [f"error: {expected}"]


def test_a_header_may_be_as_long_as_the_environment_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights(tmp_path, {"a": tensor([2], 0, 8)})
    assert stored_shapes(weight_files(tmp_path)) == {"a": (2,)}
    monkeypatch.setenv(VARIABLE, "tensor_header_bytes=10")
    with pytest.raises(InputError, match="at most 10 bytes of header"):
        stored_shapes(weight_files(tmp_path))
