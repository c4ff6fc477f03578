"""Weights that are damaged in any way: they load, or are refused with one line, and then the network is as it was."""

import json
import shutil
import struct
from pathlib import Path
from typing import Any

import pytest
import torch
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from mutations import changed_tree, damaged, only_bad_input
from tiny_checkpoint import write_tiny_checkpoint

from stvla_ros.policy import load_policy
from stvla_ros.policy.adapter_files import ADAPTER_WEIGHTS, read_adapter
from stvla_ros.policy.checkpoints import WEIGHTS
from stvla_ros.policy.lora import LoraConfig
from stvla_ros.policy.spatialvla.adapters import add_adapters, merge_into, save_adapter
from stvla_ros.policy.spatialvla.checkpoint import load_model
from stvla_ros.policy.spatialvla.model import SpatialVla

_CPU = torch.device("cpu")
_END = 64  # bytes


@st.composite
def damaged_ends(draw: st.DrawFn, whole: bytes) -> tuple[bytes, bytes | None]:
    """Of a safetensors file the header, which tells what the numbers are, and its end, None where all after the header
    is missing. The numbers between them stay: others cannot be told from them, and hypothesis keeps what it draws.
    """
    (length,) = struct.unpack("<Q", whole[:8])
    header, end = whole[: 8 + length], whole[-_END:]
    kind = draw(st.sampled_from(["header", "header", "said", "said", "end", "no numbers"]))
    if kind == "header":
        return draw(damaged(header)), end
    if kind == "said":
        said = json.dumps(draw(changed_tree(json.loads(header[8:])))).encode()
        return struct.pack("<Q", len(said)) + said, end
    return header, draw(damaged(end)) if kind == "end" else None


def write_damaged(file: Path, whole: bytes, ends: tuple[bytes, bytes | None]) -> None:
    (length,) = struct.unpack("<Q", whole[:8])
    header, end = ends
    file.write_bytes(header if end is None else header + whole[8 + length : -_END] + end)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_checkpoint(tmp_path_factory.mktemp("tiny"))


@examples(quick=15)
@given(data=st.data())
def test_fuzz_loading(checkpoint: Path, tmp_path: Path, data: Any) -> None:
    folder = tmp_path / "broken"
    if not folder.exists():
        shutil.copytree(checkpoint, folder)
    whole = (checkpoint / WEIGHTS).read_bytes()
    write_damaged(folder / WEIGHTS, whole, data.draw(damaged_ends(whole)))
    with only_bad_input(str(folder)):
        load_model(folder, _CPU, torch.float32)


@pytest.fixture(scope="module")
def adapter(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("adapter")
    trained = load_policy(str(checkpoint))
    model = add_adapters(trained.model, LoraConfig(rank=2, alpha=4.0), train_action_embeddings=False)
    save_adapter(model, folder, str(checkpoint), trained.processor)
    return folder


@pytest.fixture(scope="module")
def model(checkpoint: Path) -> SpatialVla:
    return load_model(checkpoint, _CPU, torch.float32)


@examples(quick=15)
@given(data=st.data())
def test_fuzz_merging(adapter: Path, model: SpatialVla, tmp_path: Path, data: Any) -> None:
    folder = tmp_path / "broken"
    if not folder.exists():
        shutil.copytree(adapter, folder)
    whole = (adapter / ADAPTER_WEIGHTS).read_bytes()
    write_damaged(folder / ADAPTER_WEIGHTS, whole, data.draw(damaged_ends(whole)))
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    merged = False
    with only_bad_input(str(folder)):
        merge_into(model, read_adapter(folder))
        merged = True
    if merged:
        model.load_state_dict(before)
    else:
        assert all(torch.equal(before[name], weight) for name, weight in model.state_dict().items())
