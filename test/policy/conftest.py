"""What the tests of the policies share: one tiny checkpoint in the published layout, written and loaded once."""

import json
import os
from pathlib import Path

import pytest
from tiny_checkpoint import write_tiny_checkpoint

from stvla_ros.policy import load_policy
from stvla_ros.shared_files import shared_folders

# Small files of the published checkpoint, too large for the repository; without them their tests are skipped.
FACTS = Path(os.environ.get("STVLA_FACTS") or shared_folders("facts")[0])


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory):
    """The folder; not to be changed."""
    return write_tiny_checkpoint(tmp_path_factory.mktemp("tiny_checkpoint"))


@pytest.fixture(scope="session")
def predictor(checkpoint):
    """The checkpoint, loaded. Who changes a weight restores it."""
    return load_policy(str(checkpoint))


def published_file(name):
    path = FACTS / name
    if not path.is_file():
        pytest.skip(f"the published {name} is not at {path} (STVLA_FACTS sets the folder)")
    return path


@pytest.fixture(scope="session")
def published_weight_index():
    return published_file("spatialvla-weight-index.json")


@pytest.fixture(scope="session")
def published_config():
    """Content of the published processor_config.json."""
    return json.loads(published_file("spatialvla-processor_config.json").read_text())
