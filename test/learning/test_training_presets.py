"""Presets of a training's configuration, and those of the recipe for the published shape."""

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
