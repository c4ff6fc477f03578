"""Pictures, depth and what else comes with them: refused where training needs it and it cannot be used."""

from pathlib import Path

import numpy as np
import pytest
from foreign_dataset import write_bridge_dataset
from training_data import EPISODES, FRAMES, check, demonstration, refusal, usual, write

from stvla_ros.learning.datasets.lerobot.reader import LeRobotReader
from stvla_ros.learning.training.config import TrainingConfig
from stvla_ros.policy.inputs import InputsConfig


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> LeRobotReader:
    return usual(tmp_path_factory.mktemp("data") / "good")


def test_missing_depth_is_refused_only_where_it_is_used(tmp_path: Path) -> None:
    reader = usual(tmp_path / "data", depth=None)
    message = refusal(reader)
    assert "expected a feature observation.images.depth" in message and "zoedepth" in message
    for depth in ("constant", "zoedepth"):
        assert check(reader, config=TrainingConfig(steps=1, inputs=InputsConfig(traces="none", depth=depth))) == []


def test_depth_that_is_unknown_is_refused(tmp_path: Path) -> None:
    depth = np.full((FRAMES, 120, 160), 900, np.uint16)
    depth[4] = 0
    message = refusal(usual(tmp_path / "data", depth=depth))
    assert "observation.images.depth: expected depth in every frame, it is unknown (0) everywhere in 1 of 12" in message


@pytest.mark.parametrize(("value", "metres"), [(9, "0.009"), (60000, "60")])
def test_depth_in_other_units_is_refused(tmp_path: Path, value: int, metres: str) -> None:
    message = refusal(usual(tmp_path / "data", depth=np.full((FRAMES, 120, 160), value, np.uint16)))
    assert f"expected millimetres, the median would be {metres} m" in message


def test_sparse_depth_is_named(tmp_path: Path) -> None:
    depth = np.zeros((FRAMES, 120, 160), np.uint16)
    depth[:, :12] = 900
    warnings = check(usual(tmp_path / "data", depth=depth))
    assert len(warnings) == 3 and all("known in 10% of the pixels only" in line for line in warnings)


def test_pictures_of_one_colour_are_refused(tmp_path: Path) -> None:
    message = refusal(usual(tmp_path / "data", rgb=np.full((FRAMES, 120, 160, 3), 7, np.uint8)))
    assert (
        "episode 0, observation.images.camera: expected pictures of a scene, they are of one colour [7, 7, 7]"
        in message
    )


def test_pictures_that_stand_still_while_the_robot_moves_are_refused(tmp_path: Path) -> None:
    frozen = np.repeat(np.random.default_rng(0).integers(0, 256, (1, 120, 160, 3), np.uint8), FRAMES, axis=0)
    assert "expected pictures that change while the robot moves" in refusal(usual(tmp_path / "data", rgb=frozen))


def test_small_pictures_are_named(tmp_path: Path) -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (FRAMES, 48, 64, 3), np.uint8)
    depth = np.full((FRAMES, 48, 64), 900, np.uint16)
    assert all("64x48 are enlarged" in line for line in check(usual(tmp_path / "d", rgb=rgb, depth=depth)))


def test_missing_intrinsics_are_named(tmp_path: Path) -> None:
    assert check(usual(tmp_path / "data", intrinsics=None)) == [
        f"data set {tmp_path / 'data'}: no observation.intrinsics, the checkpoint's default camera is used"
    ]


def test_missing_scene_points_are_refused_only_where_they_are_used(tmp_path: Path, good: LeRobotReader) -> None:
    reader = usual(tmp_path / "data", scene_points=None)
    config = TrainingConfig(steps=1, objectives={"actions": 1.0, "scene": 0.5})
    assert "expected a feature privileged.scene_points because objectives.scene is 0.5" in refusal(
        reader, config=config
    )
    assert check(reader) == []
    assert check(good, reader, config=config) == [
        f"data set {tmp_path / 'data'}: no privileged.scene_points, nothing is learnt from it for the objective scene"
    ]


def test_state_that_tells_another_way_than_the_actions_is_named(tmp_path: Path) -> None:
    episodes = [demonstration(seed) for seed in range(EPISODES)]
    for episode in episodes:
        episode.state[:, :3] *= 1000.0
    warnings = check(write(tmp_path / "data", episodes))
    assert len(warnings) == 3 and all("observation.state to one of" in line for line in warnings)


def test_foreign_data_of_bridges_shape_pass(tmp_path: Path) -> None:
    reader = LeRobotReader(write_bridge_dataset(tmp_path / "bridge", episodes=6, frames=20))
    warnings = check(reader, config=TrainingConfig(steps=1, inputs=InputsConfig(traces="none", depth="constant")))
    assert any("no observation.intrinsics" in line for line in warnings)
