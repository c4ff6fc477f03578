"""A published run of tiny sizes, and the checkpoint that it is converted into: written once."""

import pytest
from tiny_st4vla import write_base, write_run

from stvla_ros.policy.st4vla.conversion import write_converted


@pytest.fixture(scope="session")
def base(tmp_path_factory):
    """Folder of the vision-language model; not to be changed."""
    return write_base(tmp_path_factory.mktemp("base"), weights=True)


@pytest.fixture(scope="session")
def run_file(tmp_path_factory):
    """The run's weights; not to be changed."""
    return write_run(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="session")
def converted(base, run_file, tmp_path_factory):
    """The run as a checkpoint, in float32; not to be changed."""
    folder = tmp_path_factory.mktemp("converted") / "checkpoint"
    write_converted(run_file, base, folder, "float32", {})
    return folder
