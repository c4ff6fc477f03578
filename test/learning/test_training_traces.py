"""Training with the traces beside the depth: what is kept of a frame, what the head learns, and what is written."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import training_data
import yaml
from test_training_samples import PREPARATION, moving_square

from stvla_ros.errors import InputError
from stvla_ros.learning.training.augmentation import DrawnAugmentation
from stvla_ros.learning.training.config import read_config
from stvla_ros.learning.training.config_sections import AugmentationConfig
from stvla_ros.learning.training.prepared_frames import prepare_samples
from stvla_ros.learning.training.run import train
from stvla_ros.perception.spatial_traces import SpatialTraces
from stvla_ros.perception.trace_cells import MOTION, SHARE, trace_cells, trace_vertices
from stvla_ros.policy import load_policy
from stvla_ros.policy.inputs import InputsConfig
from stvla_ros.policy.samples import Samples
from stvla_ros.policy.spatialvla.create import create_checkpoint
from stvla_ros.policy.spatialvla.training.batch import WithTraces
from stvla_ros.policy.spatialvla.training.options import SpatialVlaOptions
from stvla_ros.policy.spatialvla.training.trainable import SpatialVlaTrainable
from stvla_ros.policy.training_record import resolve

BESIDE = InputsConfig(traces="beside", buffer=10)
KEPT = WithTraces(**vars(PREPARATION), frames=10, most=3)
FRAMES = 14


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "set"
    episodes = [training_data.demonstration(seed, FRAMES, rgb=moving_square(FRAMES)) for seed in range(10)]
    training_data.write(folder, episodes)
    return folder


@pytest.fixture(scope="module")
def samples(dataset: Path) -> Samples:
    reader = training_data.LeRobotReader(dataset)
    return prepare_samples([reader], [range(2)], BESIDE, KEPT, dataset.parent / "cache", workers=1)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base") / "tiny"
    create_checkpoint(folder, "tiny")
    return folder


def trainable(base: Path, samples: Samples, **options: Any) -> SpatialVlaTrainable:
    made = SpatialVlaTrainable(training_data.start(base, inputs=BESIDE, options=SpatialVlaOptions(**options)))
    made.use(samples)
    return made


# The last frame of an episode, when the square has moved for long.
MOVED = np.array([FRAMES - 1])


def test_what_is_kept_of_a_frame_is_what_the_policy_is_given(dataset: Path, samples: Samples) -> None:
    perception = SpatialTraces(BESIDE.perception())
    episode = training_data.LeRobotReader(dataset).episode(0)
    seen = 0
    for frame in range(FRAMES):
        result = perception.step(episode.rgb[frame], int(episode.stamps[frame]), episode.depth[frame])
        vertices = trace_vertices(perception.in_depth(result.traces), 224)
        kept = samples.prepared["traces"][np.array([frame])][0]
        np.testing.assert_array_equal(kept[10 - len(vertices) :, : vertices.shape[1]], vertices)
        assert np.isnan(kept[:, vertices.shape[1] :]).all() and np.isnan(kept[: 10 - len(vertices)]).all()
        seen += vertices.shape[1] > 0
    # One body moves.
    assert seen > 5 and result.traces.num_points == 1
    depth = samples.prepared["depths"][MOVED]
    assert (depth == np.float16(0.9)).all()


def test_a_batch_has_the_cells_of_its_frames(base: Path, samples: Samples) -> None:
    made = trainable(base, samples)
    batch = made.batch(np.array([0, FRAMES - 1]))
    vertices, k = samples.prepared["traces"][MOVED][0], samples.prepared["intrinsics"][MOVED][0]
    cells = made.network.config.num_cells
    np.testing.assert_array_equal(batch.cells[1], trace_cells(vertices, k, 224, cells))
    assert not batch.cells[0].any() and batch.cells[1, ..., SHARE].any()


def test_augmentation_moves_the_traces_with_the_picture(base: Path, samples: Samples) -> None:
    made = trainable(base, samples)
    plain, changed = (
        made.batch(np.repeat(MOVED, 4), each)
        for each in (None, DrawnAugmentation(AugmentationConfig(zoom=0.2, shift=30), 4, np.random.default_rng(3)))
    )
    assert (plain.cells != changed.cells).any()
    for before, after in zip(plain.cells, changed.cells, strict=True):
        # A motion is the scene's, wherever the picture shows it.
        motions = [
            each[each[..., 1] == 0][:, MOTION]
            for each in (before[before[..., SHARE] > 0], after[after[..., SHARE] > 0])
        ]
        assert len(motions[0]) and len(motions[1])
        torch.testing.assert_close(motions[0][0], motions[1][0], atol=1e-5, rtol=0)


def test_gradient_reaches_the_head_unless_all_traces_are_dropped_out(base: Path, samples: Samples) -> None:
    for dropout, reached in ((0.0, True), (1.0, False)):
        made = trainable(base, samples, trace_dropout=dropout)
        made.losses(made.batch(MOVED), {"actions"}).objectives["actions"].backward()
        last, first = made.network.trace_head.layers[3], made.network.trace_head.layers[0]
        assert bool(last.weight.grad.any()) == reached and bool(last.bias.grad.any()) == reached
        # The last layer is zero at the start: the first one learns from the second step on.
        assert not first.weight.grad.any()


def test_a_share_of_the_samples_is_trained_without_traces_and_validated_with(base: Path, samples: Samples) -> None:
    made = trainable(base, samples)
    cells = made.batch(np.repeat(MOVED, 400)).cells[:, :, :, SHARE:1]
    torch.manual_seed(0)
    left = (made._dropped_out(cells).flatten(1) > 0).any(dim=1).float().mean()
    assert 0.62 < left < 0.78  # four standard deviations about 0.7
    made.module.eval()
    assert torch.equal(made._dropped_out(cells), cells)


def test_what_only_the_traces_tell_is_learnt(base: Path, samples: Samples) -> None:
    """Two samples of one frame, the last of its episode: which way something moved tells the gripper."""
    made = trainable(base, samples, trace_dropout=0.0)
    batch = made.batch(np.repeat(MOVED, 2))
    to_the_left = torch.tensor([1.0, 1.0, -1.0, 1.0, 1.0])
    batch.cells[1] = batch.cells[0] * to_the_left
    (closed, end), grippers = made._tokenizer.legal_ranges[2], batch.offsets[:, :, 2]
    grippers[0], grippers[1] = closed, end - 1
    optimizer = torch.optim.Adam(made.module.parameters(), 3e-3)
    losses = []
    for _ in range(60):
        optimizer.zero_grad()
        loss = made.losses(batch, {"actions"}).parts["gripper"]
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    # Who does not see the traces can at best say that both are as likely: ln 2.
    assert losses[0] > 0.6 and min(losses) < 0.4, losses


def config(folder: Path, dataset: Path, **changes: Any) -> Any:
    content = {
        "size": "tiny", "steps": 3, "batch_size": 4, "precision": "float32", "device": "cpu", "save_every": 2,
        "log_every": 1, "validate_every": 3, "output": str(folder / "run"),
        "inputs": {"traces": "beside", "buffer": 10},
        "optimizer": {"learning_rate": 1e-3},
        "data": {"paths": [str(dataset)], "cache": str(dataset.parent / "cache"), "validation_share": 0.1},
        **changes,
    }  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(content))
    return read_config(folder / "config.yaml")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, dataset: Path) -> Path:
    return train(config(tmp_path_factory.mktemp("trained"), dataset))


def test_a_trained_checkpoint_says_that_it_takes_traces(trained: Path, base: Path) -> None:
    assert json.loads((trained / "training.json").read_text())["inputs"]["traces"] == "beside"
    assert resolve(str(trained), {}).inputs == BESIDE
    assert load_policy(str(trained)).model.trace_head.layers[3].weight.any()


def test_a_training_without_traces_goes_on_without_the_head(trained: Path, tmp_path: Path) -> None:
    plain = SpatialVlaTrainable(training_data.start(trained, inputs=InputsConfig(traces="none")))
    plain.save(tmp_path / "plain")
    assert load_policy(str(trained)).model.config.trace_head
    assert not load_policy(str(tmp_path / "plain")).model.config.trace_head


@pytest.mark.usefixtures("bfloat16_attention")
def test_an_adapter_is_trained_with_a_head_of_its_own(base: Path, dataset: Path, tmp_path: Path) -> None:
    adapter = train(config(tmp_path, dataset, checkpoint=str(base), lora={"rank": 4, "alpha": 4.0}))
    assert resolve(str(adapter), {}).inputs.traces == "beside"
    assert load_policy(str(adapter)).model.trace_head.layers[3].weight.any()


def test_a_family_that_takes_no_traces_refuses_them(dataset: Path) -> None:
    plain = training_data.PLAIN
    asked = dataclasses.replace(plain, inputs=BESIDE, family=dataclasses.replace(plain.family, name="st4vla"))
    with pytest.raises(InputError, match="inputs.traces: expected none, depth or rgb, networks of the family st4vla"):
        training_data.check_datasets([training_data.select_episodes(training_data.LeRobotReader(dataset), 0)], asked)
