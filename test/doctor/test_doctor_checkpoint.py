"""What is found out about a checkpoint, on copies of the small one."""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from made_records import only

from stvla_ros.doctor.checkpoint import check_checkpoint
from stvla_ros.doctor.findings import Finding
from stvla_ros.shared_files import default_checkpoint

ROBOT_KEY = "bridge_orig/1.0.0"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Links to the small checkpoint's files, to be replaced one by one."""
    for file in default_checkpoint().iterdir():
        (tmp_path / file.name).symlink_to(file)
    return tmp_path


def replace_json(file: Path, change: Callable[[dict[str, Any]], None]) -> None:
    content = json.loads(file.read_text())
    change(content)
    file.unlink()
    file.write_text(json.dumps(content))


def examined(
    folder: Path | str, unnorm_key: str = "", fallback_unnorm_key: str = ROBOT_KEY, depth_topic: str = "depth"
) -> list[Finding]:
    return list(check_checkpoint(str(folder), unnorm_key, fallback_unnorm_key, depth_topic))


def test_the_small_checkpoint_is_whole_and_has_one_set_of_statistics() -> None:
    found = examined("")
    only(found, "note", "action statistics 'stvla': the checkpoint's only ones, 'bridge_orig/1.0.0' would be the robot")
    assert found[0].level == "ok" and "small: 10 million parameters, 0.02 GB, complete" in found[0].text
    assert found[-1].text == "chunks will be executed as anchored_mean"
    assert found[-2].text == (
        "trained with, and will be shown: picture, depth from sensor, traces beside the depth (30 frames, adaptive, "
        "lucas_kanade), resize bicubic"
    )


def test_what_a_checkpoint_was_trained_with_is_told(folder: Path) -> None:
    inputs = {"traces": "none", "depth": "constant", "resize": "area"}
    replace_json(folder / "training.json", lambda record: record.update(inputs=inputs))
    assert "will be shown: picture, the same depth everywhere, no traces, resize area" in examined(folder)[-2].text
    (folder / "training.json").unlink()
    [told] = [found for found in examined(folder) if found.text.startswith("there is no training.json")]
    assert told.level == "note" and "it will be shown: picture, depth from sensor, traces on depth" in told.text
    assert "--traces" in told.advice


def test_a_checkpoint_that_sees_depth_is_told_apart_from_a_camera_without(folder: Path) -> None:
    found = only(examined(folder, depth_topic=""), "warning", "it needs the depth sensor's depth, but the camera")
    assert "--depth-topic" in found.advice
    replace_json(folder / "training.json", lambda record: record["inputs"].update(traces="none", depth="constant"))
    assert not [found for found in examined(folder, depth_topic="") if found.level == "warning"]


def test_a_record_of_a_plug_in_that_is_not_here(folder: Path) -> None:
    replace_json(folder / "training.json", lambda record: record["inputs"].update(tracker="mine"))
    found = only(
        examined(folder),
        "error",
        "inputs.tracker: expected one of lucas_kanade, kinematic, cotracker, tapnext, got 'mine'",
    )
    assert "install the plug-in" in found.advice


def test_the_robots_statistics_are_chosen_and_others_must_be_asked_for(folder: Path) -> None:
    def add(content: dict[str, Any]) -> None:
        statistics = content["statistics"]
        statistics[ROBOT_KEY] = statistics["kuka/0.1.0"] = statistics.pop("stvla")

    replace_json(folder / "processor_config.json", add)
    assert "action statistics 'bridge_orig/1.0.0' (the robot has them)" in [f.text for f in examined(folder)]
    assert "action statistics 'kuka/0.1.0' (asked for)" in [f.text for f in examined(folder, "kuka/0.1.0")]
    found = only(
        examined(folder, fallback_unnorm_key="none/1"), "error", "unnorm_key: expected one of bridge_orig/1.0.0, kuka"
    )
    assert "--unnorm-key" in found.advice
    only(examined(folder, "nine"), "error", "unnorm_key: expected one of bridge_orig/1.0.0, kuka/0.1.0; got 'nine'")


def test_statistics_that_a_training_added_are_taken_and_told(folder: Path) -> None:
    def add(content: dict[str, Any]) -> None:
        content["statistics"][ROBOT_KEY] = content["statistics"]["stvla"]

    replace_json(folder / "processor_config.json", add)
    only(
        examined(folder),
        "note",
        "action statistics 'stvla': added to the published ones, 'bridge_orig/1.0.0' would be the robot's",
    )


@pytest.mark.parametrize("missing", ["config.json", "model.safetensors", "tokenizer.json", "processor_config.json"])
def test_a_file_that_is_missing(missing: str, folder: Path) -> None:
    (folder / missing).unlink()
    bad = [f for f in examined(folder) if f.level == "error"]
    assert len(bad) == 1 and missing in bad[0].text and "hf download" in bad[0].advice


def test_weights_that_broke_off(folder: Path) -> None:
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    bad = [f for f in examined(folder) if f.level == "error"]
    assert len(bad) == 1 and "expected a complete safetensors file" in bad[0].text


def test_an_index_that_names_what_is_not_there(folder: Path) -> None:
    index = {"weight_map": {"a": "model-00001-of-00002.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    bad = [f for f in examined(folder) if f.level == "error"]
    assert len(bad) == 1 and "missing: model-00001-of-00002.safetensors" in bad[0].text


def test_weights_of_another_configuration(folder: Path) -> None:
    replace_json(folder / "config.json", lambda c: c["text_config"].update(num_hidden_layers=99))
    bad = [f for f in examined(folder) if f.level == "error"]
    assert len(bad) == 1 and "its tensors do not fit its config.json; " in bad[0].text


def test_a_processor_or_record_that_cannot_be_used(folder: Path) -> None:
    replace_json(folder / "processor_config.json", lambda c: c.pop("statistics"))
    bad = [f for f in examined(folder) if f.level == "error"]
    assert len(bad) == 1 and "statistics: expected at least one data set" in bad[0].text
    (folder / "training.json").unlink()
    (folder / "training.json").write_text("{}")
    assert "expected a training configuration with inputs" in examined(folder)[-1].text


def test_an_adapter_whose_checkpoint_is_gone(folder: Path) -> None:
    adapter = {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "base_model_name_or_path": "/none/here"}
    (folder / "adapter_config.json").write_text(json.dumps(adapter))
    only(examined(folder), "error", "base_model_name_or_path: checkpoint: expected a folder")


def test_an_adapter_and_its_checkpoint(tmp_path: Path) -> None:
    import torch
    from safetensors.torch import save_file

    adapter = {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "base_model_name_or_path": str(default_checkpoint())}
    (tmp_path / "adapter_config.json").write_text(json.dumps(adapter))
    (tmp_path / "processor_config.json").symlink_to(default_checkpoint() / "processor_config.json")
    save_file({"a": torch.zeros(1)}, tmp_path / "adapter_model.safetensors")
    found = examined(tmp_path)
    assert [f.level for f in found] == ["ok", "ok", "note", "ok", "ok"]
    # Of its own it says nothing, so what it was trained on does.
    assert "will be shown: picture, depth from sensor, traces beside the depth" in found[3].text
    assert found[4].text == "chunks will be executed as anchored_mean"
    assert found[0].text == f"adapter {tmp_path}, on {default_checkpoint()}"
    assert found[1].text.startswith(f"checkpoint {default_checkpoint()}: 10 million parameters")


def test_quantised_weights(folder: Path) -> None:
    import torch
    from safetensors.torch import save_file

    (folder / "model.safetensors").unlink()
    save_file({"a": torch.zeros(4, dtype=torch.int8)}, folder / "model.safetensors")
    bad = [f for f in examined(folder) if f.level == "error"]
    assert len(bad) == 1 and "expected a as one of F64, F32, F16, BF16, got I8" in bad[0].text


@pytest.fixture
def no_hub(tmp_path: Path) -> Iterator[None]:
    """Whatever the machine has downloaded before."""
    from huggingface_hub import constants

    before, constants.HF_HUB_CACHE = constants.HF_HUB_CACHE, str(tmp_path / "hub")
    yield
    constants.HF_HUB_CACHE = before


def test_a_checkpoint_that_is_not_there(no_hub: None) -> None:
    only(examined("/none"), "error", "(small) or a hub id, got '/none'")
    found = only(examined("some/model"), "warning", "checkpoint some/model is not on this machine")
    assert found.advice == "download it before: hf download some/model"
    assert os.environ.get("HF_HUB_OFFLINE") is None
