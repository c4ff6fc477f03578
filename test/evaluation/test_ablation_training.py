"""Settings that are trained: a model for each, once, evaluated with what it was shown."""

import sys
from pathlib import Path

import pytest
import yaml

from stvla_ros.acting.episode import load_evaluated_policy
from stvla_ros.acting.setup import EvaluatedPolicy
from stvla_ros.evaluation.ablate import trained_policy
from stvla_ros.evaluation.ablation_kinds import make_settings
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
    [setting] = make_settings("buffer", base, ("7",), retrain=True)

    policy = trained_policy(setting, config, tmp_path / "training")
    assert policy.label == "buffer-7"
    assert policy.inputs == InputsConfig(buffer=7, variant="A", adaptive=False, resize="area")
    load_evaluated_policy(policy, "widowx", 0)
    weights = Path(policy.checkpoint, "model.safetensors")
    trained_at = weights.stat().st_mtime_ns
    assert trained_policy(setting, config, tmp_path / "training") == policy
    assert weights.stat().st_mtime_ns == trained_at
    assert capfd.readouterr().out.count("training for buffer-7") == 1
