"""Settings that are trained: a model for each, once, evaluated with what it was shown."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from stvla_ros.acting.episode import load_evaluated_policy
from stvla_ros.acting.setup import EvaluatedPolicy
from stvla_ros.evaluation.ablation_kinds import make_settings
from stvla_ros.evaluation.ablation_networks import Trainings, make_networks, trained_policy
from stvla_ros.policy.inputs import InputsConfig

sys.path.append(str(Path(__file__).parents[1] / "learning"))


@pytest.mark.slow
def test_a_model_is_trained_once_for_a_setting_and_sees_it_when_it_is_evaluated(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    import training_data

    training_data.usual(tmp_path / "set")
    content = {
        "size": "tiny",
        "steps": 2,
        "data": {"paths": [str(tmp_path / "set")], "cache": str(tmp_path / "cache"), "validation_share": 0.0},
        "inputs": {"adaptive": False, "variant": "A", "resize": "area"},
    }
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump(content))
    base = EvaluatedPolicy("ours", "stvla", "nobody/unused", inputs=InputsConfig(variant="B"))
    [network] = make_networks(make_settings("buffer", base, ("7",), retrain=True), Trainings(config))

    policy = trained_policy(network, tmp_path / "training")
    assert policy.label == "buffer-7"
    assert policy.inputs == InputsConfig(buffer=7, variant="A", adaptive=False, resize="area")
    load_evaluated_policy(policy, "widowx", 0)
    weights = Path(policy.checkpoint, "model.safetensors")
    trained_at = weights.stat().st_mtime_ns
    assert trained_policy(network, tmp_path / "training") == policy
    assert weights.stat().st_mtime_ns == trained_at
    assert capfd.readouterr().out.count("training for buffer-7") == 1


@pytest.mark.slow
def test_all_steps_of_the_experiment_with_traces_run_and_are_done_once(tmp_path: Path) -> None:
    command = [
        sys.executable, "-m", "stvla_ros.cli", "ablate", "traces", "--try", "--tasks", "tap_both", "--corrections", "9",
        "--pictures", "none", "--workers", "1", "--output", str(tmp_path / "out"),
    ]  # fmt: skip
    first = subprocess.run(command, capture_output=True, text=True)
    assert first.returncode == 0, first.stderr
    arms = ("none", "depth-C", "depth-A", "beside", "earlier")
    table = (tmp_path / "out/ablation.md").read_text()
    for name in (f"{arm}{protocol}" for protocol in ("", "-corrected", "-5") for arm in arms):
        assert f"training for traces-{name}-s0\n" in first.stdout
        assert f"| traces-{name} | tap_both | **0.0 %** (0/1) |" in table
    assert (tmp_path / "out/ablation.png").is_file()
    again = subprocess.run(command, capture_output=True, text=True)
    assert again.returncode == 0 and "training for" not in again.stdout and "recording" not in again.stdout
    assert (tmp_path / "out/ablation.md").read_text() == table


@pytest.mark.slow
def test_all_steps_of_the_experiment_with_grounding_run_and_are_done_once(tmp_path: Path) -> None:
    arms = ("full", "vanilla-longer", "shuffled", "spatialvla")
    command = [
        sys.executable, "-m", "stvla_ros.cli", "ablate", "grounding", "--try", "--tasks", "stack_cube",
        "--settings", *arms, "--pictures", "none", "--workers", "1", "--output", str(tmp_path / "out"),
    ]  # fmt: skip
    first = subprocess.run(command, capture_output=True, text=True)
    assert first.returncode == 0, first.stderr
    out = tmp_path / "out"
    table, errors = ((out / f"{name}.md").read_text() for name in ("ablation", "grounding"))
    for name in ("stage1", "stage1-shuffled", *arms):
        assert f"training for grounding-{name}-s0\n" in first.stdout
        assert f"training for grounding-{name}-left-s0\n" in first.stdout
    for name in arms:
        assert f"| grounding-{name} | stack_cube | **0.0 %** (0/1) |" in table
    assert errors.count("\n| grounding-") == 6 and "spatialvla" not in errors
    halves = [file.stem for file in out.glob("ablation-left-*.md")]
    assert len(halves) == 1  # there is one official episode
    for name in ("ablation", "grounding", *halves):
        assert (out / f"{name}.png").is_file() and (out / f"{name}.csv").is_file()
    again = subprocess.run(command, capture_output=True, text=True)
    assert again.returncode == 0
    for done in ("training for", "recording", "asking", "measuring"):
        assert done not in again.stdout
    assert (out / "ablation.md").read_text() == table and (out / "grounding.md").read_text() == errors
