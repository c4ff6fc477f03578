"""What the tests of the policies share: one tiny checkpoint in the published layout, written and loaded once."""

import os
from pathlib import Path

import pytest
from tiny_checkpoint import write_tiny_checkpoint

from stvla_ros.policy import load_policy

FACTS = Path(os.environ.get("STVLA_FACTS", Path(__file__).parents[3] / "shared" / "facts"))


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory):
    """The folder; not to be changed."""
    return write_tiny_checkpoint(tmp_path_factory.mktemp("tiny_checkpoint"))


@pytest.fixture(scope="session")
def predictor(checkpoint):
    """The checkpoint, loaded. Who changes a weight restores it."""
    return load_policy(str(checkpoint))


@pytest.fixture(scope="session")
def published_weight_index():
    path = FACTS / "spatialvla-weight-index.json"
    if not path.is_file():
        pytest.skip(f"the published weight index is not at {path} (STVLA_FACTS sets the folder)")
    return path
