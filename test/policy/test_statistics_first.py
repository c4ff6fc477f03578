"""Whether a checkpoint has the action statistics that are asked for is told before anything starts, of every family."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from stvla_ros.errors import InputError
from stvla_ros.policy.families import find_family
from stvla_ros.policy.registry import check_loads

# Where each family that acts keeps them, and where in the file.
_FILES = {"spatialvla": ("processor_config.json", "statistics"), "st4vla": ("dataset_statistics.json", None)}


@pytest.fixture(scope="module", params=sorted(_FILES))
def several(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint with the statistics of two data sets, neither of them a published one."""
    folder = tmp_path_factory.mktemp("of") / request.param
    find_family(request.param).create(folder, "tiny", 0)
    file, key = _FILES[request.param]
    content = json.loads((folder / file).read_text())
    blocks = content[key] if key else content
    (only,) = blocks.values()
    blocks.clear()
    blocks |= {"mine": only, "yours": only}
    (folder / file).write_text(json.dumps(content))
    return folder


def test_a_key_that_is_not_there_or_cannot_be_told_is_refused(several: Path) -> None:
    with pytest.raises(InputError, match="unnorm_key: expected one of mine, yours; got 'nope'"):
        check_loads(str(several), "nope")
    with pytest.raises(InputError, match="unnorm_key: expected one of mine, yours; got none"):
        check_loads(str(several), "", "bridge_orig/1.0.0")
    check_loads(str(several), "mine")
    check_loads(str(several), "", "yours")
    check_loads(str(several))


def test_torch_is_not_needed_for_it(several: Path) -> None:
    program = (
        "import sys; from stvla_ros.policy.registry import check_loads\n"
        f"check_loads({str(several)!r}, 'mine', '')\n"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
