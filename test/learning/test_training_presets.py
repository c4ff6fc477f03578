"""Presets of a training's configuration, and those of the recipe for the published shape."""

import json
from pathlib import Path

import pytest
import yaml

from bench.training_memory import GPU_GB, RECIPE, choice, needed_gb
from stvla_ros.errors import InputError
from stvla_ros.learning.training.config import read_config

CONTENT = {
    "steps": 5,
    "batch_size": 1,
    "optimizer": {"name": "muon", "ema": 0.9},
    "presets": {"large": {"batch_size": 8, "optimizer.ema": 0.99}},
}


def write(folder: Path, **changes: object) -> Path:
    file = folder / "config.yaml"
    file.write_text(yaml.safe_dump({**CONTENT, **changes}))
    return file


def test_a_preset_stands_in_place_of_the_files_values_and_an_override_in_place_of_both(tmp_path: Path) -> None:
    file = write(tmp_path)
    assert read_config(file).batch_size == 1
    large = read_config(file, preset="large")
    assert (large.batch_size, large.optimizer.ema, large.optimizer.name) == (8, 0.99, "muon")
    assert read_config(file, {"batch_size": 3}, "large").batch_size == 3


@pytest.mark.parametrize(
    ("changes", "preset", "said"),
    [
        ({}, "huge", "preset: expected one of large, got 'huge'"),
        ({"presets": {}}, "large", "preset: expected one of none, the file has no presets, got 'large'"),
        ({"presets": [1]}, "", "presets: expected a mapping of mappings, got"),
        ({"presets": {"large": 3}}, "large", "presets: expected a mapping of mappings, got"),
        ({"presets": {"large": {"batchsize": 3}}}, "large", "batchsize: no such key (did you mean batch_size?)"),
        ({"presets": {"large": {"refit_bins": True}}}, "large", "refit_bins: no such key, it is called"),
    ],
)
def test_a_preset_that_cannot_be_used_is_one_clear_error(
    tmp_path: Path, changes: dict[str, object], preset: str, said: str
) -> None:
    with pytest.raises(InputError) as refused:
        read_config(write(tmp_path, **changes), preset=preset)
    assert said in str(refused.value) and "\n" not in str(refused.value)


def test_a_batch_for_a_gpu_is_the_largest_that_fits_and_layers_are_computed_again_only_where_none_does() -> None:
    needs = {False: {1: 8.0, 2: 9.0, 4: 12.0}, True: {1: 5.0, 2: 6.0, 4: 7.0}}
    assert choice(needs, 12) == (2, False, 9.0)
    assert choice(needs, 8) == (2, True, 6.0)
    with pytest.raises(ValueError, match="one sample"):
        choice(needs, 5)


@pytest.mark.slow
def test_the_recipes_presets_are_what_is_counted() -> None:
    needs = {checkpointing: needed_gb(checkpointing) for checkpointing in (False, True)}
    for gigabytes in GPU_GB:
        preset = read_config(RECIPE, preset=f"{gigabytes}GB")
        batch, checkpointing, _ = choice(needs, gigabytes)
        assert (preset.batch_size, preset.gradient_checkpointing) == (batch, checkpointing), gigabytes


def test_the_recipe_is_computed_in_bfloat16_wherever_it_runs() -> None:
    assert {read_config(RECIPE, preset=f"{size}GB").precision for size in GPU_GB} == {"bfloat16"}


@pytest.mark.parametrize(
    ("overrides", "length"),
    [
        ({"epochs": 2.0}, (0, 2.0, 0)),
        ({"stages": [{"steps": 3}]}, (0, 0.0, 1)),
        ({"steps": 7}, (7, 0.0, 0)),
        ({}, (5, 0.0, 0)),
    ],
)
def test_a_runs_length_is_what_was_said_last(tmp_path: Path, overrides: dict, length: tuple) -> None:
    config = read_config(write(tmp_path), overrides)
    assert (config.steps, config.epochs, len(config.stages)) == length
    # A preset's, too, stands in place of the file's and below an override's.
    presets = {"long": {"epochs": 9.0}}
    config = read_config(write(tmp_path, presets=presets), overrides, "long")
    assert (config.steps, config.epochs, len(config.stages)) == (length if overrides else (0, 9.0, 0))


def test_two_lengths_said_at_once_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="steps, epochs: expected one of them or stages, got 3, 2.0 and 0 stages"):
        read_config(write(tmp_path), {"steps": 3, "epochs": 2.0})


def made_base(folder: Path) -> Path:
    """A checkpoint that was trained otherwise than usual, as far as a configuration looks at it."""
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    inputs = {"traces": "depth", "buffer": 7, "resize": "area", "tracker_parameters": {"window": 9}}
    (folder / "training.json").write_text(json.dumps({"inputs": inputs, "execution": "mean_ensemble"}))
    return folder


def test_what_nobody_says_is_as_the_checkpoint_was_trained(tmp_path: Path) -> None:
    base = str(made_base(tmp_path / "base"))
    plain = read_config(write(tmp_path))
    assert (plain.execution, plain.inputs.buffer) == ("ensemble", 30)
    for changes in ({"checkpoint": base}, {"checkpoint": base, "lora": {"rank": 2}}):
        config = read_config(write(tmp_path, **changes))
        assert config.execution == "mean_ensemble"
        assert (config.inputs.buffer, config.inputs.resize) == (7, "area")
    said = write(tmp_path, checkpoint=base, execution="receding", inputs={"resize": "bicubic"})
    config = read_config(said, {"inputs.tracker": "cotracker"})
    assert (config.execution, config.inputs.resize, config.inputs.buffer) == ("receding", "bicubic", 7)
    assert config.inputs.tracker_parameters == {}, "those of another tracker"
    assert read_config(write(tmp_path), {"checkpoint": base}).inputs.buffer == 7, "an override's checkpoint, too"


def test_traces_beside_can_be_added_to_a_checkpoint_that_never_saw_them(tmp_path: Path) -> None:
    file = write(tmp_path, checkpoint=str(made_base(tmp_path / "base")))
    assert read_config(file, {"inputs.traces": "beside"}).inputs.traces == "beside"


@pytest.mark.parametrize(
    ("record", "said"),
    [("[]", "expected a training configuration with inputs"), ('{"inputs": {"buffer": 0}}', "inputs.buffer: expected")],
)
def test_a_checkpoints_record_that_cannot_be_used_is_named(tmp_path: Path, record: str, said: str) -> None:
    base = made_base(tmp_path / "base")
    (base / "training.json").write_text(record)
    with pytest.raises(InputError, match=said) as refused:
        read_config(write(tmp_path, checkpoint=str(base)))
    assert "config.yaml: " in str(refused.value)
