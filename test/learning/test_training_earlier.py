"""Training with an earlier picture: which frame it is, what the head learns, and what is written."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import training_data
from test_training_samples import PREPARATION
from test_training_traces import config

from stvla_ros.errors import InputError
from stvla_ros.learning.training.augmentation import DrawnAugmentation
from stvla_ros.learning.training.config_sections import AugmentationConfig
from stvla_ros.learning.training.prepared_frames import prepare_samples
from stvla_ros.learning.training.run import train
from stvla_ros.policy import load_policy
from stvla_ros.policy.inputs import InputsConfig
from stvla_ros.policy.lora import LoraConfig
from stvla_ros.policy.samples import Samples
from stvla_ros.policy.spatialvla.create import create_checkpoint
from stvla_ros.policy.spatialvla.training.options import SpatialVlaOptions
from stvla_ros.policy.spatialvla.training.trainable import SpatialVlaTrainable

UNTRACED = InputsConfig(traces="none")
FRAMES = 12


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """At 5 Hz, each frame of a grey of its own on the left."""
    folder = tmp_path_factory.mktemp("data") / "set"
    greys = [np.full((FRAMES, 120, 160, 3), 10 * episode, np.uint8) for episode in range(10)]
    for grey in greys:
        grey += np.arange(FRAMES, dtype=np.uint8)[:, None, None, None]
        grey[:, :, 80:] = 200
    training_data.write(
        folder, [training_data.demonstration(seed, FRAMES, rgb=grey) for seed, grey in enumerate(greys)]
    )
    return folder


@pytest.fixture(scope="module")
def samples(dataset: Path) -> Samples:
    reader = training_data.LeRobotReader(dataset)
    return prepare_samples([reader], [range(2)], UNTRACED, PREPARATION, dataset.parent / "cache", workers=1)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base") / "tiny"
    create_checkpoint(folder, "tiny")
    return folder


def trainable(base: Path, samples: Samples | None, earlier_s: float = 1.0, **changes: Any) -> SpatialVlaTrainable:
    options = SpatialVlaOptions(earlier_s=earlier_s)
    made = SpatialVlaTrainable(training_data.start(base, inputs=UNTRACED, options=options, **changes))
    if samples is not None:
        made.use(samples)
    return made


def test_the_earlier_frame_is_a_second_older_and_at_first_the_episodes_first(samples: Samples) -> None:
    first = [0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6]
    assert samples.before(np.arange(2 * FRAMES), 1.0).tolist() == first + [FRAMES + each for each in first]
    assert samples.before(np.array([8]), 0.3).tolist() == [6]  # at least so old


def test_a_batch_has_the_earlier_pictures_after_the_newest(base: Path, samples: Samples) -> None:
    batch = trainable(base, samples).batch(np.array([8, FRAMES + 2]))
    greys = (255 * batch.pixels[:, 0, 0, 0]).round().int().tolist()
    assert greys == [8, 12, 3, 10]
    assert len(batch.depth) == len(batch.intrinsics) == 4 and len(batch.ids) == 2


def test_augmentation_changes_both_pictures_alike(base: Path, samples: Samples) -> None:
    drawn = DrawnAugmentation(AugmentationConfig(zoom=0.2, shift=30, depth_noise=0.1), 2, np.random.default_rng(3))
    batch = trainable(base, samples).batch(np.array([0, FRAMES]), drawn)  # each is its own earlier picture
    for each in (batch.pixels, batch.depth, batch.intrinsics):
        torch.testing.assert_close(each[:2], each[2:], rtol=0, atol=0)
    assert (batch.intrinsics[0] != batch.intrinsics[1]).any()


def test_what_only_the_earlier_picture_tells_is_learnt(base: Path, samples: Samples) -> None:
    """Two samples of one frame: whether it was dark or bright before tells the gripper."""
    made = trainable(base, samples)
    batch = made.batch(np.array([8, 8]))
    batch.pixels[3] = 1.0
    (closed, end), grippers = made._tokenizer.legal_ranges[2], batch.offsets[:, :, 2]
    grippers[0], grippers[1] = closed, end - 1
    optimizer = torch.optim.Adam(made.module.parameters(), 3e-3)
    losses = []
    for _ in range(40):
        optimizer.zero_grad()
        loss = made.losses(batch, {"actions"}).parts["gripper"]
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    # Who does not see the earlier picture can at best say that both are as likely: ln 2.
    assert losses[0] > 0.6 and min(losses) < 0.4, losses


def test_a_trained_checkpoint_knows_how_old_the_picture_is_and_may_lose_it_again(
    base: Path, dataset: Path, tmp_path: Path
) -> None:
    inputs = {"traces": "none"}
    asked = {"name": "spatialvla", "options": {"earlier_s": 1.0}}
    objectives = {"actions": 1, "scene": 0.25}
    trained = train(config(tmp_path, dataset, inputs=inputs, family=asked, objectives=objectives))
    loaded = load_policy(str(trained))
    assert loaded.earlier_s == 1.0 and loaded.model.earlier_head.layers[3].weight.any()
    trainable(trained, None, earlier_s=0.0).save(tmp_path / "plain")
    plain = load_policy(str(tmp_path / "plain"))
    assert plain.earlier_s == 0.0 and not plain.model.config.earlier_head
    with pytest.raises(InputError, match=r"\Afamily.options.earlier_s: expected seconds above 0 for adapters[^\n]*\Z"):
        trainable(trained, None, earlier_s=0.0, lora=LoraConfig(rank=4, alpha=4.0))


@pytest.mark.usefixtures("bfloat16_attention")
def test_an_adapter_is_trained_with_a_head_of_its_own(base: Path, dataset: Path, tmp_path: Path) -> None:
    adapter = train(
        config(
            tmp_path, dataset, checkpoint=str(base), lora={"rank": 4, "alpha": 4.0}, inputs={"traces": "none"},
            family={"name": "spatialvla", "options": {"earlier_s": 0.6}},
        )
    )  # fmt: skip
    loaded = load_policy(str(adapter))
    assert loaded.earlier_s == 0.6 and loaded.model.earlier_head.layers[3].weight.any()


def test_the_memory_of_two_pictures_is_counted(base: Path) -> None:
    one, two = (trainable(base, None, earlier_s=each).activation_bytes(2) for each in (0.0, 1.0))
    assert 1.05 * one < two < 2.1 * one


@pytest.mark.parametrize("seconds", [-0.1, 61.0])
def test_seconds_out_of_range_are_refused(seconds: float) -> None:
    with pytest.raises(InputError, match="earlier_s: expected 0 to 60 seconds"):
        SpatialVlaOptions(earlier_s=seconds)
