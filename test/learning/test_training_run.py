"""`stvla train` from the configuration to the checkpoint, on small data."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import training_data
import yaml
from foreign_dataset import write_bridge_dataset

from stvla_ros.errors import InputError
from stvla_ros.learning.training.config import read_config, to_mapping
from stvla_ros.learning.training.ending import ending
from stvla_ros.learning.training.run import train
from stvla_ros.policy import load_policy
from stvla_ros.policy.action_statistics import fit_statistics
from stvla_ros.policy.training_record import resolve_execution
from stvla_ros.shared_files import default_checkpoint

REPOSITORY = Path(__file__).parents[2]
SETTINGS = {
    "size": "tiny",
    "steps": 6,
    "batch_size": 2,
    "gradient_accumulation": 2,
    "precision": "float32",
    "device": "cpu",
    "save_every": 2,
    "log_every": 1,
    "validate_every": 3,
    "family": {"name": "spatialvla", "options": {"smooth_actions": True, "smoothing": 0.1}},
    "objectives": {"actions": 1.0, "scene": 0.5},
    "optimizer": {"name": "muon", "learning_rate": 1e-3, "schedule": "cosine", "warmup_steps": 2, "ema": 0.9},
    "augmentation": {"shift": 4, "colour": 0.2, "depth_noise": 0.02},
}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "set"
    training_data.usual(folder)
    return folder


def write_config(folder: Path, dataset: Path, **changes: object) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    data = {"paths": [str(dataset)], "cache": str(dataset.parent / "cache"), "validation_share": 0.1}
    file = folder / "config.yaml"
    content = {**SETTINGS, "output": str(folder / "run"), "data": data, **changes}
    file.write_text(yaml.safe_dump(content))
    return file


def losses(run: Path, name: str = "loss") -> dict[int, float]:
    """By step, also of the other numbers of a step."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return {line["step"]: line[name] for line in lines if name in line}


def same_weights(a: Path, b: Path) -> bool:
    return (a / "model.safetensors").read_bytes() == (b / "model.safetensors").read_bytes()


def test_what_a_refused_training_made_is_not_begun_with(dataset: Path, tmp_path: Path) -> None:
    for folder, refused in (("again", True), ("clean", False)):
        if refused:
            with pytest.raises(InputError, match="freeze"):
                train(read_config(write_config(tmp_path / folder, dataset, freeze=["nothing_has_this_name"])))
        train(read_config(write_config(tmp_path / folder, dataset, seed=1, steps=1)))
    assert same_weights(tmp_path / "again/run/checkpoint", tmp_path / "clean/run/checkpoint")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, dataset: Path) -> Path:
    """The folder of a run that nobody disturbed."""
    folder = tmp_path_factory.mktemp("whole")
    train(read_config(write_config(folder, dataset)))
    return folder / "run"


def test_the_trained_checkpoint_loads_and_acts(trained: Path) -> None:
    predictor = load_policy(str(trained / "checkpoint"))
    rgb, depth = np.zeros((120, 160, 3), np.uint8), np.ones((120, 160), np.float32)
    k = np.array([[150.0, 0, 80], [0, 150, 60], [0, 0, 1]])
    actions = predictor.predict(rgb, "put the spoon on the towel", depth, k).actions
    assert actions.shape == (4, 7) and np.isfinite(actions).all()


def test_statistics_and_bins_are_those_of_the_training_set(trained: Path, dataset: Path) -> None:
    from stvla_ros.learning.datasets.lerobot.reader import LeRobotReader

    predictor = load_policy(str(trained / "checkpoint"))
    fitted = fit_statistics(LeRobotReader(dataset).actions(), training_data.EPISODES)
    assert list(predictor.statistics) == ["stvla"]
    assert np.allclose(predictor.statistics["stvla"].q99, fitted.q99)
    published = json.loads((trained / "base-spatialvla-tiny-0" / "processor_config.json").read_text())
    mine = json.loads((trained / "checkpoint" / "processor_config.json").read_text())
    assert mine["bin_policy"] != published["bin_policy"]


def test_held_out_episodes_are_looked_at_before_the_first_step_and_after_the_last(trained: Path) -> None:
    errors = losses(trained, "validation/translation_error_mm")
    assert list(errors) == [-1, 2, 5]
    before, after = errors[-1], errors[5]
    told = list(ending(trained, trained / "checkpoint", {"widowx"}))
    assert told[0].startswith(f"held-out error {before:.1f} → {after:.1f} mm a step, gripper right in ")
    assert told[1].startswith(f"next: stvla sim --checkpoint {trained / 'checkpoint'} --task stack_cube ")
    assert told[2].startswith(f"      stvla eval --policies {trained / 'checkpoint'} --tasks stack_cube ")
    assert "--robot YOUR_ROBOT.yaml" in list(ending(trained, trained / "checkpoint", {"my_arm"}))[1]


def test_a_run_that_is_begun_anew_is_looked_at_once(trained: Path, dataset: Path, tmp_path: Path) -> None:
    config = write_config(tmp_path, dataset, steps=1, validate_every=5)
    (tmp_path / "run").mkdir()
    # As a run leaves it that was killed before its first state.
    (tmp_path / "run/metrics.jsonl").write_text('{"step": -1, "validation/loss": 9.0}\n{"step": 0, "loss": 9.0}\n')
    train(read_config(config))
    lines = [json.loads(line)["step"] for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    assert lines == [-1, 0, 0]
    assert losses(tmp_path / "run", "validation/loss")[-1] != 9.0


def test_two_runs_give_the_same_checkpoint(trained: Path, dataset: Path, tmp_path: Path) -> None:
    train(read_config(write_config(tmp_path, dataset)))
    assert losses(tmp_path / "run") == losses(trained)
    assert same_weights(tmp_path / "run/checkpoint", trained / "checkpoint")


def test_another_seed_gives_another_checkpoint(trained: Path, dataset: Path, tmp_path: Path) -> None:
    train(read_config(write_config(tmp_path, dataset, seed=1, steps=1)))
    assert losses(tmp_path / "run")[0] != losses(trained)[0]


def test_a_killed_run_goes_on_to_the_same_loss_curve(trained: Path, dataset: Path, tmp_path: Path) -> None:
    config = write_config(tmp_path, dataset)
    run = tmp_path / "run"
    training_data.train_and_kill(config, run)
    train(read_config(config))
    assert losses(run) == losses(trained)
    assert same_weights(run / "checkpoint", trained / "checkpoint")


def test_a_run_with_other_settings_is_not_gone_on_with(trained: Path, dataset: Path) -> None:
    config = dataclasses.replace(read_config(write_config(trained.parent, dataset)), batch_size=3)
    with pytest.raises(InputError, match="same batch_size"):
        train(config)


def test_gradient_accumulation_is_a_larger_batch(dataset: Path, tmp_path: Path) -> None:
    plain = {"objectives": {"actions": 1.0}, "augmentation": {}, "steps": 2}
    for name, batch, parts in (("a", 4, 1), ("b", 2, 2)):
        made = write_config(tmp_path / name, dataset, batch_size=batch, gradient_accumulation=parts, **plain)
        train(read_config(made))
    one, other = losses(tmp_path / "a/run"), losses(tmp_path / "b/run")
    assert one == pytest.approx(other, rel=1e-4)
    # Two steps' losses do not show how large the gradient is.
    one, other = (losses(tmp_path / name / "run", "gradient_norm") for name in "ab")
    assert one and one == pytest.approx(other, rel=1e-2)


def test_training_lowers_the_loss(dataset: Path, tmp_path: Path) -> None:
    changes = {"steps": 40, "batch_size": 8, "gradient_accumulation": 1, "validate_every": 100}
    changes |= {"objectives": {"actions": 1.0}, "optimizer": {"name": "muon", "learning_rate": 3e-3}}
    train(read_config(write_config(tmp_path, dataset, **changes)))
    curve = losses(tmp_path / "run")
    assert np.mean([curve[step] for step in range(35, 40)]) < 0.8 * np.mean([curve[step] for step in range(5)])


def test_zoedepth_is_never_trained(trained: Path) -> None:
    from safetensors.torch import load_file

    before = load_file(trained / "base-spatialvla-tiny-0/model.safetensors")
    after = load_file(trained / "checkpoint/model.safetensors")
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed and not any(name.startswith("vision_zoe_model") for name in changed)


def test_foreign_data_of_bridges_shape_trains(tmp_path: Path) -> None:
    data = write_bridge_dataset(tmp_path / "bridge", episodes=8, frames=14)
    changes = {"inputs": {"depth": "constant", "traces": "none"}, "objectives": {"actions": 1.0}, "steps": 2}
    train(read_config(write_config(tmp_path, data, **changes)))
    assert (tmp_path / "run/checkpoint/model.safetensors").is_file()


@pytest.mark.usefixtures("bfloat16_attention")
def test_lora_adapters_of_the_papers_recipe_train_and_load(trained: Path, dataset: Path, tmp_path: Path) -> None:
    recipe = read_config(
        Path(__file__).parents[2] / "config/train/st_vla_lora.yaml",
        {
            "checkpoint": str(trained / "checkpoint"),
            "output": str(tmp_path / "run"),
            "data.paths": [str(dataset)],
            "data.cache": str(dataset.parent / "cache"),
            "epochs": 0.05,
        },
    )
    assert (recipe.lora.rank, recipe.optimizer.learning_rate, recipe.data.episodes) == (32, 5e-5, 52)
    adapter = train(recipe)
    assert {"adapter_config.json", "adapter_model.safetensors", "processor_config.json"} <= set(os.listdir(adapter))
    predictor = load_policy(str(adapter))
    rgb, depth = np.zeros((120, 160, 3), np.uint8), np.ones((120, 160), np.float32)
    k = np.array([[150.0, 0, 80], [0, 150, 60], [0, 0, 1]])
    assert np.isfinite(predictor.predict(rgb, "put the spoon on the towel", depth, k).actions).all()


def test_an_adapter_is_executed_and_chooses_as_the_checkpoint_below_it(dataset: Path, tmp_path: Path) -> None:
    small = {"checkpoint": "small", "steps": 1, "batch_size": 1, "gradient_accumulation": 1, "lora": {"rank": 1}}
    options = {"name": "spatialvla", "options": {"refit_bins": False}}
    config = write_config(tmp_path, dataset, **small, family=options, objectives={"actions": 1.0})
    adapter = train(read_config(config, {"data.validation_share": 0}))
    assert resolve_execution("auto", str(adapter)) == "anchored_mean"
    files = [Path(each) / "processor_config.json" for each in (adapter, default_checkpoint())]
    assert json.loads(files[0].read_text())["decoding"] == json.loads(files[1].read_text())["decoding"] != {}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"stepz": 1}, "stepz: no such key .did you mean steps"),
        (
            {"data": {"statistics_key": "mine"}},
            r"data.statistics_key: no such key \(it is called data.unnorm_key now\)",
        ),
        ({"optimizer": {"name": "sgd"}}, "optimizer.name: expected one of adamw, muon"),
        ({"batch_size": 0}, "batch_size: expected more than 0"),
        ({"epochs": 1.0}, "steps, epochs: expected one of them"),
        ({"data": {"paths": "x"}}, "data.paths: expected a list"),
        ({"family": 3}, "family: expected a mapping"),
    ],
)
def test_a_bad_configuration_is_one_clear_error(
    tmp_path: Path, dataset: Path, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(InputError, match=message) as refused:
        read_config(write_config(tmp_path, dataset, **changes))
    assert "\n" not in str(refused.value)


def test_a_configuration_is_written_as_it_was_read(tmp_path: Path, dataset: Path) -> None:
    config = read_config(write_config(tmp_path, dataset))
    (tmp_path / "again.yaml").write_text(yaml.safe_dump(to_mapping(config)))
    assert read_config(tmp_path / "again.yaml") == config


def test_torchs_threads_sleep_while_they_wait_for_each_other(tmp_path: Path, dataset: Path) -> None:
    # Refused only when torch is loaded.
    strange = "data.action={elsewhere: x y z roll pitch yaw gripper_open}"
    config = str(write_config(tmp_path, dataset))
    command = [sys.executable, "-m", "stvla_ros.cli", "train", "--config", config, "--set", strange]
    given = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"} | {
        "OMP_DISPLAY_ENV": "TRUE"
    }
    done = subprocess.run(command, cwd=REPOSITORY, env=given, capture_output=True, text=True, timeout=300)
    assert "data.action: expected" in done.stderr
    assert "OMP_WAIT_POLICY = 'PASSIVE'" in done.stderr
