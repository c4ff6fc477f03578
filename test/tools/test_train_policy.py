"""`make policy` from its first step to its last, with next to no data."""

import json
import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROUNDS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh")
SHIPPED = ROOT / "models" / "small"

pytestmark = pytest.mark.slow


def policy(folder: Path) -> str:
    done = subprocess.run(
        [ROOT / "tools" / "train_policy.sh", "--try", str(folder)], env=os.environ, capture_output=True, text=True
    )
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def tried(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("policy")
    policy(folder)
    return folder


def test_every_round_leaves_a_checkpoint_that_goes_on_from_the_one_before(tried: Path) -> None:
    records = [json.loads((tried / "training" / each / "checkpoint" / "training.json").read_text()) for each in ROUNDS]
    starts = [Path(record["training"]["checkpoint"]).parent.name for record in records]
    assert starts == ["", *ROUNDS[:-1]]


def test_what_comes_of_the_rounds_is_as_the_shipped_policy_in_all_but_what_it_learned(tried: Path) -> None:
    found, shipped = (
        [json.loads((folder / file).read_text()) for file in ("training.json", "processor_config.json", "config.json")]
        for folder in (tried / "training" / "mean", SHIPPED)
    )
    for key in ("family", "options", "inputs", "execution"):
        assert found[0][key] == shipped[0][key], key
    assert found[1]["action_chunk_size"] == shipped[1]["action_chunk_size"]
    assert found[2].keys() == shipped[2].keys()


def test_what_is_there_is_not_made_again(tried: Path) -> None:
    files = {file: file.stat().st_mtime_ns for file in tried.rglob("*.safetensors")}
    assert len(files) >= len(ROUNDS)
    policy(tried)
    assert {file: file.stat().st_mtime_ns for file in tried.rglob("*.safetensors")} == files
