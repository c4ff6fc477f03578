"""The policy after SSM-VLA through the common trainer: on demonstrations, with clips without actions beside them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import training_data
import yaml
from made_clips import image_folder

from stvla_ros.errors import InputError
from stvla_ros.learning.training.config import read_config
from stvla_ros.learning.training.loop import Trainer
from stvla_ros.learning.training.run import train
from stvla_ros.policy import load_policy
from stvla_ros.policy.families import family_of
from stvla_ros.policy.ssm_vla.checkpoint import save_model
from stvla_ros.policy.ssm_vla.config import new_lam_config
from stvla_ros.policy.ssm_vla.create import random_model
from stvla_ros.policy.training_record import resolve

SECONDS = (0.2, 0.8, 2.4)


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A latent action model, demonstrations, and pictures without depth that nobody acted in."""
    folder = tmp_path_factory.mktemp("ssm_vla")
    save_model(random_model(new_lam_config("tiny"), 0), folder / "lam")
    record = {"family": "ssm_vla", "options": {}, "training": {}, "inputs": {"traces": "none", "resize": "area"}}
    (folder / "lam/training.json").write_text(json.dumps(record))
    training_data.write(folder / "set", [training_data.demonstration(seed, 20) for seed in range(6)])
    image_folder(folder / "seen", 30, rate=10.0)
    return folder


def configured(folder: Path, made: Path, **changes: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    content = {
        "family": {"name": "ssm_vla", "options": {"policy_size": "tiny", "repeats": 2}},
        "checkpoint": str(made / "lam"),
        "steps": 4,
        "batch_size": 4,
        "precision": "float32",
        "device": "cpu",
        "save_every": 2,
        "log_every": 1,
        "validate_every": 4,
        "execution": "anchored",
        "objectives": {"actions": 1.0, "vision": 0.1, "codes": 0.1},
        "optimizer": {"learning_rate": 2e-3, "ema": 0.9},
        "augmentation": {"shift": 8, "zoom": 0.05},
        "output": str(folder / "run"),
        **changes,
    }
    usual = {"paths": [str(made / "set")], "clips": [str(made / "seen")], "cache": str(made / "cache")}
    content["data"] = {**usual, "validation_share": 0.2, **changes.get("data", {})}
    (folder / "config.yaml").write_text(yaml.safe_dump(content))
    return folder / "config.yaml"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, data: Path) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    train(read_config(configured(folder, data)))
    return folder / "run"


def entries(run: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def test_the_configuration_that_comes_along_can_be_read(data: Path) -> None:
    file = Path(__file__).parents[2] / "config/train/ssm_vla.yaml"
    config = read_config(file, {"data.paths": ["seen"], "checkpoint": str(data / "lam")})
    assert config.needs_actions and config.execution == "anchored" and config.inputs.traces == "none"


def test_demonstrations_and_clips_train_one_policy(trained: Path) -> None:
    logged = entries(trained)
    steps = [entry for entry in logged if "loss" in entry]
    assert [entry["step"] for entry in steps] == [0, 1, 2, 3]
    assert {"flow", "rgb", "depth", "codes", "codes_right", "rgb_explained"} <= set(steps[0])
    for entry in steps:
        told = entry["flow"] + 0.1 * (entry["rgb"] + entry["depth"]) + 0.1 * entry["codes"]
        assert entry["loss"] == pytest.approx(told, rel=1e-4)
    held_out = {name for entry in logged for name in entry if name.startswith("validation/")}
    assert {"validation/translation_error_mm", "validation/gripper_accuracy"} <= held_out
    page = (trained / "briefing.txt").read_text()
    assert "a recording, with no depth" in page and "(no instruction)" in page and "2 episodes of them held out" in page
    assert "a picture at +0.8 s is predicted" in page


def test_the_trained_checkpoint_acts_and_still_tells_codes(trained: Path) -> None:
    checkpoint = trained / "checkpoint"
    policy = load_policy(str(checkpoint))
    rgb, depth = np.zeros((120, 160, 3), np.uint8), np.full((120, 160), 0.9, np.float32)
    chunk = policy.predict(rgb, "put the spoon on the towel", depth)
    assert list(policy.statistics) == ["stvla"] and np.isfinite(chunk.actions).all() and chunk.actions.shape == (8, 7)
    assert family_of(checkpoint).latent_actions(checkpoint, "cpu").config.keyframes_s == SECONDS
    assert resolve(str(checkpoint), {}).execution == "anchored"
    assert json.loads((checkpoint / "training.json").read_text())["training"]["data"]["clips"]


def test_a_run_that_was_stopped_goes_on_to_the_same_weights(
    trained: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, step = configured(tmp_path, data), Trainer.train_step

    def stops(self: Trainer) -> dict[str, float]:
        if self.step == 3:
            raise KeyboardInterrupt
        return step(self)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Trainer, "train_step", stops)
        train(read_config(config))
    train(read_config(config))
    one, other = (run / "checkpoint/model.safetensors" for run in (trained, tmp_path / "run"))
    assert one.read_bytes() == other.read_bytes()


def test_a_data_set_among_the_clips_teaches_no_actions(data: Path, tmp_path: Path) -> None:
    """Its actions are another robot's, of metres: nothing of them reaches statistics or losses."""
    other = [training_data.demonstration(seed, 20, instruction="fly") for seed in range(2)]
    for episode in other:
        episode.action[:, :3] *= 100.0
    training_data.write(tmp_path / "other", other)
    train(read_config(configured(tmp_path, data, data={"clips": [str(tmp_path / "other")]})))
    (statistics,) = load_policy(str(tmp_path / "run/checkpoint")).statistics.values()
    assert np.abs(statistics.q99[:3]).max() < 0.1
    assert "fly" in (tmp_path / "run/briefing.txt").read_text()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"objectives": {"actions": 1.0}}, "data.clips: expected an objective that needs no actions"),
        ({"objectives": {"vision": 1.0}}, "data.clips: expected none, nothing needs actions here"),
        ({"data": {"clips": ["nowhere.mp4"]}}, "data.clips: expected a LeRobotDataset, video, image folder or bag"),
        ({"checkpoint": "", "size": "tiny"}, "checkpoint: expected a trained latent action model"),
        ({"family": {"name": "spatialvla"}, "objectives": {"actions": 1.0}, "checkpoint": "small"}, "data.clips: "),
        ({"objectives": {"actions": 1.0, "latent": 1.0}}, "objectives: expected latent alone"),
    ],
)
def test_what_cannot_be_trained_is_one_line(data: Path, tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError) as refused:
        train(read_config(configured(tmp_path, data, **changes)))
    assert said in str(refused.value) and "\n" not in str(refused.value)
