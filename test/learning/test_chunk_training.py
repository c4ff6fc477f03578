"""Training on to longer chunks, and what the decoder is told of the actions before."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import training_data
from test_training_samples import moving_square

from stvla_ros.errors import InputError
from stvla_ros.learning.training.prepared_frames import prepare_samples
from stvla_ros.policy import load_policy
from stvla_ros.policy.inputs import InputsConfig
from stvla_ros.policy.samples import Samples
from stvla_ros.policy.spatialvla.create import create_checkpoint
from stvla_ros.policy.spatialvla.predictor import Prediction
from stvla_ros.policy.spatialvla.training.options import SpatialVlaOptions
from stvla_ros.policy.spatialvla.training.trainable import SpatialVlaTrainable

FRAMES = 14
PLAIN = InputsConfig(traces="none")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base") / "tiny"
    create_checkpoint(folder, "tiny")
    return folder


def trainable(base: Path, **options: Any) -> SpatialVlaTrainable:
    return SpatialVlaTrainable(training_data.start(base, inputs=PLAIN, options=SpatialVlaOptions(**options)))


def prepared(made: SpatialVlaTrainable, folder: Path, executed: np.ndarray | None) -> Samples:
    episode = training_data.demonstration(0, FRAMES, rgb=moving_square(FRAMES), executed_action=executed)
    reader = training_data.write(folder / "set", [episode])
    return prepare_samples([reader], [range(1)], PLAIN, made.preparation, folder / "cache", workers=1)


def others() -> np.ndarray:
    """Actions that are not the labels."""
    return training_data.demonstration(1, FRAMES).action[::-1].copy()


def said(checkpoint: Path) -> Prediction:
    rgb = moving_square(1)[0]
    predictor = load_policy(str(checkpoint))
    key = next(iter(predictor.statistics))
    return predictor.predict(rgb, "pick up the red cube", np.full(rgb.shape[:2], 0.9, np.float32), unnorm_key=key)


@pytest.mark.parametrize(("asked", "expected"), [(0, 4), (8, 8), (2, 2)])
def test_a_checkpoint_goes_on_with_the_chunks_asked_for_and_begins_as_it_was(
    base: Path, tmp_path: Path, asked: int, expected: int
) -> None:
    trainable(base, chunk_size=asked, refit_bins=False).save(tmp_path)
    before, after = said(base).tokens, said(tmp_path).tokens
    assert after.shape == (expected, 3)
    assert (after[:4] == before[:expected]).all()


def test_bins_fitted_anew_keep_the_chunks_asked_for(base: Path, tmp_path: Path) -> None:
    trainable(base, chunk_size=8, refit_bins=True).save(tmp_path)
    assert said(tmp_path).tokens.shape == (8, 3)


def test_a_small_training_set_need_not_change_what_the_tokens_mean(base: Path, tmp_path: Path) -> None:
    key = next(iter(load_policy(str(base)).statistics))
    for name, changes in (("fitted", {}), ("kept", {"refit_statistics": False})):
        options = SpatialVlaOptions(refit_bins=False, **changes)
        made = SpatialVlaTrainable(training_data.start(base, inputs=PLAIN, options=options, unnorm_key=key))
        (tmp_path / name).mkdir()
        made.save(tmp_path / name)
    assert (said(tmp_path / "kept").actions == said(base).actions).all()
    assert (said(tmp_path / "fitted").actions != said(base).actions).any()


def test_statistics_that_are_not_there_cannot_stay(base: Path) -> None:
    with pytest.raises(InputError, match="unnorm_key: expected one of .*; got 'stvla'"):
        trainable(base, refit_bins=False, refit_statistics=False)
    with pytest.raises(InputError, match="refit_statistics: expected true with refit_bins"):
        SpatialVlaOptions(refit_statistics=False)


@pytest.mark.parametrize("size", [-1, 33])
def test_a_chunk_size_out_of_range_is_refused_by_name(size: int) -> None:
    with pytest.raises(InputError, match=f"chunk_size: expected 0 to 32 actions, got {size}"):
        SpatialVlaOptions(chunk_size=size)


def test_the_decoder_is_given_what_was_executed_and_asked_for_the_labels(base: Path, tmp_path: Path) -> None:
    made = trainable(base, chunk_size=8)
    samples = prepared(made, tmp_path, others())
    made.use(samples)
    batch, chunk = made.batch(np.array([2])), slice(2, 10)
    label, done = (made._tokenizer.encode(made._statistics.normalize(each)) for each in (samples.actions, others()))
    assert (batch.offsets[0].numpy() == label[chunk]).all()
    assert (batch.inputs[0].numpy() == done[chunk]).all()
    assert (label[chunk] != done[chunk]).any()


def test_data_that_do_not_tell_what_was_executed_give_the_labels(base: Path, tmp_path: Path) -> None:
    made = trainable(base)
    made.use(prepared(made, tmp_path, None))
    batch = made.batch(np.arange(3))
    assert (batch.inputs == batch.offsets).all()


@torch.no_grad()
def test_what_was_executed_decides_about_the_actions_after_it(base: Path, tmp_path: Path) -> None:
    """The same labels after other commands are other answers; only asked to do so, the decoder is given the labels."""
    told = {}
    for inputs in ("executed", "labels"):
        for name, executed in (("as labelled", None), ("otherwise", others())):
            made = trainable(base, decoder_inputs=inputs)
            made.network.eval()
            made.use(prepared(made, tmp_path / f"{inputs} {name}", executed))
            told[inputs, name] = float(made.losses(made.batch(np.array([0])), ("actions",)).objectives["actions"])
    assert told["labels", "otherwise"] == told["labels", "as labelled"] == told["executed", "as labelled"]
    assert told["executed", "otherwise"] != told["executed", "as labelled"]
