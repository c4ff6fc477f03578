"""Stages: their steps, objectives and what stands still, also of a run that was killed."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import training_data
import yaml
from safetensors.torch import load_file

from stvla_ros.errors import InputError
from stvla_ros.learning.training.config import read_config
from stvla_ros.learning.training.config_sections import StageConfig
from stvla_ros.learning.training.loop import Trainer
from stvla_ros.learning.training.run import train
from stvla_ros.learning.training.stages import frames_of_stages, make_stages

STAGES = [
    {"steps": 3, "objectives": {"scene": 1.0}, "freeze": ["vision_tower"]},
    {"steps": 3, "objectives": {"actions": 1.0, "scene": 0.5}, "freeze": ["language_model.model.layers.0"]},
]
NAMES = ("model.vision_tower.a", "model.language_model.model.layers.0.b", "model.language_model.model.layers.01.b")


def write_config(folder: Path, dataset: Path, **changes: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "config.yaml"
    content = {
        "size": "tiny",
        "batch_size": 2,
        "precision": "float32",
        "device": "cpu",
        "save_every": 1,
        "log_every": 2,
        "validate_every": 100,
        "output": str(folder / "run"),
        "data": {"paths": [str(dataset)], "cache": str(dataset.parent / "cache"), "validation_share": 0.1},
        "optimizer": {"name": "muon", "learning_rate": 1e-3, "schedule": "cosine", "warmup_steps": 1, "ema": 0.9},
        "stages": STAGES,
        **changes,
    }
    file.write_text(yaml.safe_dump(content))
    return file


def entries(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "set"
    training_data.usual(folder)
    return folder


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, dataset: Path) -> Path:
    """The folder of a run that nobody disturbed."""
    folder = tmp_path_factory.mktemp("whole")
    train(read_config(write_config(folder, dataset)))
    return folder / "run"


def test_each_stage_has_its_own_objectives_and_schedule(trained: Path) -> None:
    logged = [entry for entry in entries(trained) if "loss" in entry]
    # Figures are written at the end of a stage too, so that none is a mean over two.
    assert [entry["step"] for entry in logged] == [1, 2, 3, 5]
    for entry in logged:
        scene = entry["pointing"] + entry["placing"] + entry["relations"]
        actions = entry["translation"] + entry["rotation"] + entry["gripper"]
        expected = scene if entry["step"] < 3 else actions + 0.5 * scene
        assert entry["loss"] == pytest.approx(expected, rel=1e-5)
    rates = [entry["learning_rate"] for entry in logged]
    assert rates == pytest.approx([1e-3, 5e-4, 1e-3, 5e-4])


def test_what_is_frozen_stands_still(dataset: Path, tmp_path: Path) -> None:
    once = {
        "stages": [{**STAGES[0], "steps": 1}, {**STAGES[0], "steps": 1, "freeze": ["vision_tower", "language_model"]}]
    }
    train(read_config(write_config(tmp_path, dataset, **once, family={"options": {"refit_bins": False}})))
    before = load_file(tmp_path / "run/base-spatialvla-tiny-0/model.safetensors")
    after = load_file(tmp_path / "run/checkpoint/model.safetensors")
    changed = {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}
    assert "multi_modal_projector" in changed and "language_model" in changed and "vision_tower" not in changed


def test_a_killed_run_goes_on_through_its_stages_to_the_same_weights(
    trained: Path, dataset: Path, tmp_path: Path
) -> None:
    config = write_config(tmp_path, dataset)
    run = tmp_path / "run"
    training_data.train_and_kill(config, run)
    train(read_config(config))
    assert entries(run) == entries(trained)
    model = "checkpoint/model.safetensors"
    assert (run / model).read_bytes() == (trained / model).read_bytes()


def test_a_stage_learns_from_its_own_data_sets() -> None:
    parts = [StageConfig(1, {"actions": 1.0}, (), data) for data in (("a", "b"), ("b",))]
    first, second = frames_of_stages(parts, ("a", "b"), np.array([0, 0, 1, 1, 1]), np.array([0, 1, 3, 4]))
    assert first.tolist() == [0, 1, 3, 4] and second.tolist() == [3, 4]


def test_a_stage_whose_data_are_all_held_out_is_refused() -> None:
    part = StageConfig(1, {"actions": 1.0}, (), ("b",))
    with pytest.raises(InputError, match=r"stages\[0\].data: expected an episode that is not held out, b has none"):
        frames_of_stages([part], ("a", "b"), np.array([0, 1]), np.array([0]))


def test_a_feature_is_asked_only_of_the_data_that_its_objective_learns_from(dataset: Path, tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    training_data.write(plain, [training_data.demonstration(seed, scene_points=None) for seed in range(10)])
    stages = [{**STAGES[0], "data": [str(dataset)]}, {"steps": 2, "objectives": {"actions": 1}, "data": [str(plain)]}]
    data = {"paths": [str(dataset), str(plain)], "cache": str(tmp_path / "cache"), "validation_share": 0.1}
    train(read_config(write_config(tmp_path, dataset, stages=stages, data=data)))
    page = (tmp_path / "run/briefing.txt").read_text()
    assert "no privileged.scene_points" not in page and "; on " in page
    with pytest.raises(InputError, match="expected a feature privileged.scene_points because objectives.scene is 1"):
        stages[0]["data"] = [str(plain)]
        train(read_config(write_config(tmp_path / "b", dataset, stages=stages, data=data)))


def test_a_batch_that_is_read_ahead_is_of_the_stage_that_takes_it(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that goes on at a stage's begin has read nothing ahead, and yet sees what the undisturbed one saw."""
    other = tmp_path / "other"
    training_data.write(other, [training_data.demonstration(seed) for seed in range(50, 60)])
    data = {"paths": [str(dataset), str(other)], "cache": str(tmp_path / "cache"), "validation_share": 0.1}
    stages = [{"steps": 2, "data": [str(dataset)]}, {"steps": 2, "data": [str(other)]}]
    configs = [
        read_config(write_config(tmp_path / name, dataset, stages=stages, data=data)) for name in ("whole", "cut")
    ]
    whole = train(configs[0])
    step = Trainer.train_step

    def first_stage(trainer: Trainer) -> dict[str, float]:
        if trainer.step == 2:
            raise KeyboardInterrupt
        return step(trainer)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Trainer, "train_step", first_stage)
        train(configs[1])
    cut = train(configs[1])
    assert (whole / "model.safetensors").read_bytes() == (cut / "model.safetensors").read_bytes()


def test_the_record_tells_family_options_and_stages(trained: Path) -> None:
    record = json.loads((trained / "checkpoint/training.json").read_text())
    assert list(record) == ["family", "options", "inputs", "execution", "training"]
    assert record["family"] == "spatialvla" and record["options"]["refit_bins"] is True
    assert [stage["steps"] for stage in record["training"]["stages"]] == [3, 3]


def test_a_part_is_whole_components_of_the_name() -> None:
    (stage,) = make_stages([StageConfig(2, {"actions": 1.0}, ("language_model.model.layers.0",))], NAMES)
    assert stage.trained == {NAMES[0], NAMES[2]}


@pytest.mark.parametrize(
    ("freeze", "message"),
    [
        (("arm",), "freeze: expected trained parts of the network like language_model, vision_tower, got 'arm'"),
        (("vision",), "freeze: expected trained parts of the network like language_model, vision_tower, got 'vision'"),
        (("model",), "freeze: expected something left to train, got model"),
    ],
)
def test_what_cannot_be_frozen_is_named(freeze: tuple[str, ...], message: str) -> None:
    with pytest.raises(InputError) as refused:
        make_stages([StageConfig(2, {"actions": 1.0}, freeze)], NAMES)
    assert str(refused.value) == message


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": 3}, "steps, epochs: expected one of them or stages"),
        ({"stages": [{"steps": 0}]}, r"stages\[0\].steps: expected more than 0"),
        ({"stages": [{"objectives": {"actions": 1}}]}, r"stages\[0\].steps: expected a value, it is missing"),
        (
            {"stages": [{"steps": 1, "objectives": {"scene": 0}}]},
            r"stages\[0\].objectives: expected one weight above 0",
        ),
        (
            {"stages": [{"steps": 1, "data": ["elsewhere"]}]},
            r"stages\[0\].data: expected some of data.paths .*'elsewhere'",
        ),
        ({"objectives": {"sceen": 1}}, "objectives: expected some of actions, scene, got 'sceen'"),
        ({"objectives": {"scene": -1}}, "objectives.scene: expected 0 or more"),
        ({"family": {"name": "spatialvlm"}}, "family: expected one of spatialvla"),
        ({"family": {"options": {"smoothing": 3}}}, "family.options.smoothing: expected 0 to 2"),
        ({"family": {"options": {"smooth": 3}}}, "family.options.smooth: no such key .did you mean"),
        ({"refit_bins": False}, "refit_bins: no such key, it is called family.options.refit_bins now"),
        ({"consensus_width": 0.2}, "consensus_width: no such key, it is called family.options.consensus_width now"),
        ({"loss": {"scene_weight": 0.5}}, "loss.scene_weight: no such key, it is called objectives.scene now"),
        ({"loss": {"smoothing": 0.5}}, "loss.smoothing: no such key, it is called family.options.smoothing now"),
        ({"loss": 3}, "loss: no such key, its parts are in objectives and family.options now"),
    ],
)
def test_a_bad_key_is_one_clear_error(tmp_path: Path, dataset: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as refused:
        read_config(write_config(tmp_path, dataset, **changes))
    assert "\n" not in str(refused.value)


def test_a_former_key_on_the_command_line_is_told_its_new_name(tmp_path: Path, dataset: Path) -> None:
    file = write_config(tmp_path, dataset)
    with pytest.raises(InputError, match="loss.scene_weight: no such key, it is called objectives.scene now"):
        read_config(file, {"loss.scene_weight": 0.5})


def test_a_checkpoint_of_another_family_is_refused(trained: Path, dataset: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "config.json").write_text('{"model_type": "llama"}')
    with pytest.raises(InputError, match="expected model_type .*, got 'llama'"):
        train(read_config(write_config(tmp_path, dataset, checkpoint=str(other))))
