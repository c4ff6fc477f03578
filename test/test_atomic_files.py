"""What is written is there whole or not at all, whatever happens meanwhile."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from stvla_ros.atomic_files import whole_file, whole_folder, write_json


class Interrupted(Exception):
    pass


def test_a_file_that_fails_leaves_the_one_before(tmp_path: Path) -> None:
    file = tmp_path / "state"
    file.write_text("before")
    with pytest.raises(Interrupted), whole_file(file) as aside:
        aside.write_text("half")
        raise Interrupted
    assert file.read_text() == "before" and os.listdir(tmp_path) == ["state"]


def test_nobody_sees_a_file_before_it_is_whole(tmp_path: Path) -> None:
    file = tmp_path / "state"
    with whole_file(file) as aside:
        aside.write_text("half")
        assert not file.exists()
    assert file.read_text() == "half" and os.listdir(tmp_path) == ["state"]


def test_a_link_is_replaced_like_a_file(tmp_path: Path) -> None:
    for run in ("first", "second"):
        with whole_file(tmp_path / "latest") as aside:
            aside.symlink_to(run)
    assert os.readlink(tmp_path / "latest") == "second"


def test_a_folder_that_fails_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(Interrupted), whole_folder(tmp_path / "new" / "folder") as aside:
        (aside / "half").touch()
        raise Interrupted
    assert list((tmp_path / "new").iterdir()) == []


def test_a_folder_that_somebody_filled_meanwhile_stays_theirs(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    with pytest.raises(OSError, match="folder"), whole_folder(folder) as aside:
        (aside / "mine").touch()
        folder.mkdir()
        (folder / "theirs").touch()
    assert os.listdir(tmp_path) == ["folder"] and os.listdir(folder) == ["theirs"]


@pytest.mark.parametrize("left", ["file", "folder"])
def test_what_a_killed_process_of_the_same_number_left_is_no_obstacle(tmp_path: Path, left: str) -> None:
    write = {
        "file": "with whole_file(path) as aside:\n    aside.write_text('x')\n    end(aside)",
        "folder": "with whole_folder(path) as aside:\n    (aside / 'x').touch()\n    end(aside)",
    }[left]
    # The killed process writes under another process's number: this one's, as it happens again in a container.
    killed = f"""
import os, signal, sys
from pathlib import Path
from stvla_ros.atomic_files import whole_file, whole_folder
os.getpid, own = (lambda: {os.getpid()}), os.getpid()
path = Path(sys.argv[1])
def end(aside):
    os.kill(own, signal.SIGKILL)
{write}
"""
    path = tmp_path / "result"
    assert subprocess.run([sys.executable, "-c", killed, path]).returncode == -signal.SIGKILL
    assert not path.exists() and len(os.listdir(tmp_path)) == 1
    with (whole_file if left == "file" else whole_folder)(path) as aside:
        if left == "file":
            aside.write_text("whole")
    assert os.listdir(tmp_path) == ["result"]


def test_json_ends_with_a_line_end(tmp_path: Path) -> None:
    write_json(tmp_path / "summary.json", {"steps": 3})
    assert (tmp_path / "summary.json").read_text() == '{\n  "steps": 3\n}\n'
