"""What the learning tests share."""

import pytest

from stvla_ros.policy import load_policy
from stvla_ros.policy.spatialvla.create import create_checkpoint
from stvla_ros.policy.spatialvla.predictor import SpatialVlaPredictor


@pytest.fixture(scope="session")
def predictor(tmp_path_factory: pytest.TempPathFactory) -> SpatialVlaPredictor:
    """A tiny model with random weights."""
    folder = tmp_path_factory.mktemp("checkpoint") / "tiny"
    create_checkpoint(folder, "tiny")
    return load_policy(str(folder))
