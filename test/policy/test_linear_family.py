"""A second family, installed as a package of somebody else's: trained, inspected and evaluated without a line of this
project that names it.
"""

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import yaml
from safetensors.numpy import load_file

from stvla_ros.acting.episode import load_evaluated_policy, make_control, run_episode
from stvla_ros.acting.policy_texts import parse_policy
from stvla_ros.acting.results import EpisodeKey
from stvla_ros.doctor.checkpoint import check_checkpoint
from stvla_ros.errors import InputError
from stvla_ros.learning.training.config import read_config
from stvla_ros.learning.training.run import train
from stvla_ros.policy.commands import CreateArguments, create, describe
from stvla_ros.policy.families import family_of
from stvla_ros.policy.observer import Observer
from stvla_ros.policy.registry import check_policy

# Data sets and a world that other folders' tests have.
sys.path += [str(Path(__file__).parents[1] / name) for name in ("learning", "evaluation")]

MODULE = (Path(__file__).parent / "linear_family.py").read_text()


@pytest.fixture(autouse=True)
def linear(installed: Callable) -> Iterator[None]:
    with installed({"linear_family_package": MODULE}, {"families": {"linear": "linear_family_package:LinearFamily"}}):
        yield


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    create(CreateArguments(family="linear", output=str(tmp_path / "new")))
    return tmp_path / "new"


def write_config(tmp_path: Path, **changes: object) -> Path:
    import training_data

    tmp_path.mkdir(exist_ok=True)
    training_data.usual(tmp_path / "set")
    file = tmp_path / "config.yaml"
    content = {
        "family": {"name": "linear", "options": {"horizon": 2}},
        "output": str(tmp_path / "run"),
        "device": "cpu",
        "batch_size": 16,
        "log_every": 10,
        "objectives": {"actions": 1.0, "smooth": 0.01},
        "stages": [{"steps": 40}, {"steps": 20, "objectives": {"actions": 1}, "freeze": ["map.weight"]}],
        "data": {"paths": [str(tmp_path / "set")], "cache": str(tmp_path / "cache"), "validation_share": 0.1},
        "inputs": {"traces": "none"},
        "optimizer": {"learning_rate": 3e-3, "schedule": "cosine"},
        **changes,
    }
    file.write_text(yaml.safe_dump(content))
    return file


def test_it_is_trained_in_stages_by_the_same_trainer(tmp_path: Path) -> None:
    result = train(read_config(write_config(tmp_path)))
    lines = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    curve = [line["loss"] for line in lines if "loss" in line]
    assert curve[-1] < 0.5 * curve[0]
    assert any("validation/translation_error_mm" in line for line in lines)
    record = json.loads((result / "training.json").read_text())
    assert (record["family"], record["options"], record["inputs"]["traces"]) == ("linear", {"horizon": 2}, "none")
    begun = tmp_path / "run/base-linear-small-0"
    before, after = (load_file(folder / "model.safetensors") for folder in (begun, result))
    assert not np.array_equal(before["map.weight"], after["map.weight"])
    page = (tmp_path / "run/briefing.txt").read_text()
    assert "a new small model of linear" in page and "map.weight frozen" in page


def test_it_acts_in_an_evaluation_with_history_and_what_is_committed(checkpoint: Path) -> None:
    from scripted_environment import ScriptedEnvironment

    evaluated = parse_policy(f"{checkpoint}?traces=none,execution=mean_ensemble,scale=0.5")
    environment, loaded = ScriptedEnvironment("reach"), load_evaluated_policy(evaluated, "panda", 0)
    control = make_control(evaluated, loaded, environment)
    result = run_episode(environment, EpisodeKey("reach", "linear", 0, 0), Observer(evaluated.inputs), control)
    assert result.steps == len(environment.steps) > 3
    # The last observation had one before it, and what was left of the chunk before: two actions less the one executed.
    assert (loaded.seen_before, loaded.committed) == (1, 1)


def test_its_parameters_are_checked_before_anything_starts(checkpoint: Path) -> None:
    check_policy("stvla", {"checkpoint": str(checkpoint), "scale": 2.0})
    with pytest.raises(InputError, match="policy stvla: takes no temperature; it takes checkpoint, scale"):
        check_policy("stvla", {"checkpoint": str(checkpoint), "temperature": 1.0})


def test_inspect_and_doctor_know_it(checkpoint: Path) -> None:
    assert family_of(checkpoint).name == "linear"
    told = describe(checkpoint)
    assert "linear" in told and "0.00 M parameters" in told
    found = list(check_checkpoint(str(checkpoint), "", "", "/depth"))
    assert [each.level for each in found] == ["ok", "note", "ok"] and "linear, 0.00 million parameters" in found[0].text


def test_its_options_are_its_own(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="family.options.horizon: expected 1 to 16, got 17"):
        read_config(write_config(tmp_path, family={"name": "linear", "options": {"horizon": 17}}))
    with pytest.raises(InputError, match="family.options.refit_bins: no such key"):
        read_config(write_config(tmp_path / "a", family={"name": "linear", "options": {"refit_bins": True}}))


def test_it_has_no_adapters(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="family linear has no adapters"):
        family_of(checkpoint).merge(checkpoint, tmp_path / "merged", "float32")


def test_another_packages_broken_family_hides_no_checkpoint(
    checkpoint: Path, installed: Callable, tmp_path: Path
) -> None:
    (checkpoint / "training.json").unlink(missing_ok=True)
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "config.json").write_text('{"model_type": "unheard_of"}')
    # Its name sorts before "linear", so it is asked first.
    with installed({}, {"families": {"aaa": "no_such_module:Family"}}, name="broken"):
        assert family_of(checkpoint).name == "linear"
        with pytest.raises(InputError, match="model_type .* got 'unheard_of'; family aaa: .* cannot be imported"):
            family_of(foreign)
