"""Checkpoints that are damaged in any way are refused with one line: no weights are loaded for it."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from mutations import changed_tree, damaged, only_bad_input
from safetensors.torch import save
from tiny_checkpoint import config, processor

from stvla_ros.policy.action_statistics import read_statistics
from stvla_ros.policy.adapter_files import ADAPTER_CONFIG, ADAPTER_WEIGHTS, read_adapter
from stvla_ros.policy.checkpoints import INDEX, TRAINING_RECORD, WEIGHTS, read_json
from stvla_ros.policy.spatialvla.actions.action_tokenizer import ActionTokenizer
from stvla_ros.policy.spatialvla.actions.consensus import consensus_width
from stvla_ros.policy.spatialvla.checkpoint import empty_model
from stvla_ros.policy.spatialvla.config import SpatialVlaConfig
from stvla_ros.policy.spatialvla.sizes import PROCESSOR_CONFIG
from stvla_ros.policy.stored_weights import fingerprint, read_rows
from stvla_ros.policy.training_record import resolve_execution, training_record

TENSORS = {"a.weight": torch.arange(12.0).reshape(3, 4), "b": torch.ones(2, dtype=torch.bfloat16)}
STORED = save(TENSORS, {"format": "pt", "base_fingerprint": "x"})
RECORD = {"inputs": {"traces": "depth"}, "execution": "receding"}
ADAPTER = {
    "peft_type": "LORA",
    "bias": "none",
    "r": 4,
    "lora_alpha": 8,
    "use_rslora": False,
    "base_model_name_or_path": ".",
}


def json_files(document: Any) -> st.SearchStrategy[bytes]:
    return damaged(json.dumps(document).encode(), text=True) | changed_tree(document).map(
        lambda changed: json.dumps(changed).encode()
    )


@pytest.fixture(autouse=True)
def offline(monkeypatch) -> None:
    """An odd name may look like one of the hub's."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


@examples(quick=15)
@given(json_files(config()))
def test_fuzz_model_configuration(tmp_path, content):
    (tmp_path / "config.json").write_bytes(content)
    with only_bad_input(str(tmp_path / "config.json")):
        SpatialVlaConfig.read(tmp_path)


@examples(quick=15)
@given(json_files(config()))
def test_fuzz_model_of_a_configuration(tmp_path, content):
    (tmp_path / "config.json").write_bytes(content)
    with only_bad_input(str(tmp_path / "config.json")):
        empty_model(SpatialVlaConfig.read(tmp_path), str(tmp_path / "config.json"))


@examples(quick=15)
@given(json_files(processor()))
def test_fuzz_processor_configuration(tmp_path, content):
    (tmp_path / PROCESSOR_CONFIG).write_bytes(content)
    with only_bad_input(PROCESSOR_CONFIG):
        found = read_json(tmp_path / PROCESSOR_CONFIG)
        assert ActionTokenizer.from_config(found).num_tokens > 0
        assert read_statistics(found)
        assert 0.0 <= consensus_width(found) <= 2.0


@examples(quick=15)
@given(damaged(STORED))
def test_fuzz_weights(tmp_path, content):
    (tmp_path / WEIGHTS).write_bytes(content)
    with only_bad_input(str(tmp_path)):
        fingerprint(tmp_path)
        read_rows(tmp_path, "a.weight", 0, 2)


@examples(quick=15)
@given(json_files({"metadata": {"total_size": 1}, "weight_map": {"a.weight": WEIGHTS, "b": WEIGHTS}}))
def test_fuzz_index(tmp_path, content):
    (tmp_path / WEIGHTS).write_bytes(STORED)
    (tmp_path / INDEX).write_bytes(content)
    with only_bad_input(str(tmp_path)):
        fingerprint(tmp_path)


@examples(quick=15)
@given(json_files(RECORD))
def test_fuzz_training_record(tmp_path, content):
    (tmp_path / TRAINING_RECORD).write_bytes(content)
    with only_bad_input(str(tmp_path)):
        assert isinstance(training_record(str(tmp_path)), dict)
        assert isinstance(resolve_execution("auto", str(tmp_path)), str)


@pytest.fixture
def base(tmp_path: Path) -> Path:
    folder = tmp_path / "base"
    folder.mkdir()
    (folder / WEIGHTS).write_bytes(STORED)
    return folder


@examples(quick=15)
@given(data=st.data())
def test_fuzz_adapter(base, tmp_path, data):
    document = {**ADAPTER, "base_model_name_or_path": str(base)}
    (tmp_path / ADAPTER_CONFIG).write_bytes(data.draw(json_files(document)))
    weights = save(TENSORS, {"base_fingerprint": fingerprint(base)})
    (tmp_path / ADAPTER_WEIGHTS).write_bytes(data.draw(st.just(weights) | damaged(weights)))
    with only_bad_input(str(tmp_path)):
        assert read_adapter(tmp_path).scale >= 0.0
