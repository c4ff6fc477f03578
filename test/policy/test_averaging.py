"""The mean of a checkpoint and of one that was trained on from it."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from stvla_ros.errors import InputError
from stvla_ros.policy import load_policy
from stvla_ros.policy.commands import AverageArguments, average

WEIGHTS = "model.safetensors"


@pytest.fixture
def trained(checkpoint: Path, tmp_path: Path) -> Path:
    """As if trained on: every number is another."""
    folder = tmp_path / "trained"
    shutil.copytree(checkpoint, folder)
    weights = load_file(checkpoint / WEIGHTS)
    save_file({name: tensor + 1.0 for name, tensor in weights.items()}, folder / WEIGHTS, metadata={"format": "pt"})
    (folder / "training.json").write_text(json.dumps({"execution": "anchored"}))
    return folder


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_weights_are_as_far_along_the_way_as_the_share_says(checkpoint, trained, tmp_path, share: float) -> None:
    average(AverageArguments(str(checkpoint), str(trained), str(tmp_path / "mean"), share))
    mean, before = load_file(tmp_path / "mean" / WEIGHTS), load_file(checkpoint / WEIGHTS)
    assert mean.keys() == before.keys()
    for name, tensor in mean.items():
        torch.testing.assert_close(tensor.float(), before[name].float() + share, rtol=1e-2, atol=1e-2)


def test_the_mean_acts_and_its_record_says_what_it_is(checkpoint, trained, tmp_path) -> None:
    average(AverageArguments(str(checkpoint), str(trained), str(tmp_path / "mean")))
    load_policy(str(tmp_path / "mean"))
    record = json.loads((tmp_path / "mean" / "training.json").read_text())
    assert record == {"execution": "anchored", "averaged": {"with": str(checkpoint), "share": 0.5}}


def test_checkpoints_whose_numbers_mean_something_else_are_refused(checkpoint, trained, tmp_path) -> None:
    (trained / "processor_config.json").write_text("{}")
    with pytest.raises(InputError, match=r"these files differ: processor_config\.json"):
        average(AverageArguments(str(checkpoint), str(trained), str(tmp_path / "mean")))
    assert not (tmp_path / "mean").exists()


def test_weights_that_are_not_finite_leave_nothing(checkpoint, trained, tmp_path) -> None:
    weights = load_file(trained / WEIGHTS)
    next(iter(weights.values())).fill_(float("nan"))
    save_file(weights, trained / WEIGHTS, metadata={"format": "pt"})
    with pytest.raises(InputError, match="expected finite weights"):
        average(AverageArguments(str(checkpoint), str(trained), str(tmp_path / "mean")))
    assert not (tmp_path / "mean").exists()
