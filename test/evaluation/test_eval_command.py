"""`stvla eval` from the command line, on the real simulator."""

import subprocess
import sys
from pathlib import Path

import pytest

OPTIONS = "--policies expert random --tasks panda_pick_cube --episodes 2 --image-size 160 120".split()
TABLES = ("table.md", "table.csv", "table.json")


def _eval(*options: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "stvla_ros.cli", "eval", *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=600)


@pytest.mark.slow
def test_the_command_makes_a_table_and_does_nothing_twice(tmp_path: Path) -> None:
    done = _eval(*OPTIONS, "--output", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "| expert | panda_pick_cube | **100.0 %** (2/2) |" in done.stdout
    assert "| random | panda_pick_cube | **0.0 %** (0/2) |" in done.stdout
    for name in (*TABLES, "timings.csv", "table.png", "index.html", "thumbnails/expert_panda_pick_cube.png"):
        assert (tmp_path / name).stat().st_size > 0
    before = {name: (tmp_path / name).read_bytes() for name in (*TABLES, "episodes.jsonl")}
    assert _eval(*OPTIONS, "--output", str(tmp_path)).returncode == 0
    assert before == {name: (tmp_path / name).read_bytes() for name in before}

    refused = _eval(*OPTIONS, "--max-steps", "5", "--output", str(tmp_path))
    assert refused.returncode == 2
    assert "holds results with max_steps 0, asked for 5; choose another folder" in refused.stderr
    assert before == {name: (tmp_path / name).read_bytes() for name in before}


def test_a_bad_argument_is_one_line_and_nothing_is_made(tmp_path: Path) -> None:
    refused = _eval("--policies", "oracle", "--output", str(tmp_path / "out"))
    assert refused.returncode == 2
    assert refused.stderr.startswith("error: policies: expected one of") and refused.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()
