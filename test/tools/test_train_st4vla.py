"""The small ST4VLA from its first step to its last, with next to no data."""

import json
import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def trained(folder: Path) -> None:
    done = subprocess.run(
        [ROOT / "tools" / "train_st4vla.sh", "--try", str(folder)], env=os.environ, capture_output=True, text=True
    )
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"


@pytest.mark.slow
def test_both_stages_run_and_are_done_once(tmp_path: Path) -> None:
    trained(tmp_path)
    checkpoint = tmp_path / "training" / "st4vla" / "checkpoint"
    record = json.loads((checkpoint / "training.json").read_text())
    assert record["family"] == "st4vla"
    assert [set(stage["objectives"]) for stage in record["training"]["stages"]] == [
        {"grounding"},
        {"actions", "grounding"},
    ]
    assert (tmp_path / "datasets" / "st4vla" / "grounding" / "questions.jsonl").is_file()
    made = (checkpoint / "model.safetensors").stat().st_mtime_ns
    trained(tmp_path)
    assert (checkpoint / "model.safetensors").stat().st_mtime_ns == made
