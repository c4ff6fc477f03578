"""The stop latch on disk: it outlives whoever closed it, and what cannot be kept or read never lets an arm move."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from stvla_ros.control.safety import latch as latch_module
from stvla_ros.control.safety.latch import CAUSES, StopLatch, default_latch_folder, latch_file, read_latch
from stvla_ros.errors import InputError


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "latches" / "arm.json"


def anew(latch: StopLatch) -> StopLatch:
    """As the next process finds it after a kill: nothing was written at the end."""
    latch.let_go()
    return StopLatch(latch.file, "arm")


@pytest.mark.parametrize("cause", CAUSES)
def test_a_cause_is_still_there_for_the_next_driver_until_it_is_reset(file: Path, cause: str) -> None:
    latch = StopLatch(file, "arm")
    assert not latch.closed
    assert latch.close(cause, "seen\nby a test")
    latch.save()
    latch = anew(latch)
    assert latch.causes == {cause: "seen by a test"} and latch.closed
    latch.open()
    assert not latch.closed and not anew(latch).closed


def test_the_first_detail_of_a_cause_stays(file: Path) -> None:
    latch = StopLatch(file, "arm")
    assert latch.close("estop", "first") and not latch.close("estop", "second")
    assert latch.causes == {"estop": "first"}


def test_a_driver_that_ended_while_it_was_active_is_a_cause(file: Path) -> None:
    latch = StopLatch(file, "arm")
    latch.begin()
    latch = anew(latch)
    assert not latch.closed, "read alone changes nothing"
    latch.begin()
    assert list(latch.causes) == ["driver ended"]
    assert list(anew(latch).causes) == ["driver ended"]


def test_an_end_in_order_is_none(file: Path) -> None:
    latch = StopLatch(file, "arm")
    latch.begin()
    latch.end()
    latch = anew(latch)
    latch.begin()
    assert not latch.closed


def test_a_process_that_is_killed_between_stop_and_disk_is_stopped_for_its_end(file: Path) -> None:
    program = (
        "import os, signal, sys; from pathlib import Path; from stvla_ros.control.safety.latch import StopLatch\n"
        "latch = StopLatch(Path(sys.argv[1]), 'arm'); latch.begin(); latch.close('estop', 'never written')\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    assert subprocess.run([sys.executable, "-c", program, str(file)]).returncode < 0
    latch = StopLatch(file, "arm")
    latch.begin()
    assert list(latch.causes) == ["driver ended"]


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "null",
        '{"causes": {}}',
        '{"robot": "a", "causes": {"estop": 3}, "running": null, "homed_for": ""}',
        '{"robot": "a", "causes": {"whatever": [0, ""]}, "running": null, "homed_for": ""}',
        '{"robot": "a", "causes": {"estop": [NaN, ""]}, "running": null, "homed_for": ""}',
        '{"robot": "a", "causes": {}, "running": 1e300, "homed_for": ""}',
        "[" * 60000,
    ],
)
def test_a_file_that_cannot_be_read_is_a_closed_latch(file: Path, content: str) -> None:
    file.parent.mkdir()
    file.write_text(content)
    with pytest.raises(InputError, match=f"file {file}: expected what a driver wrote"):
        read_latch(file)
    latch = StopLatch(file, "arm")
    assert list(latch.causes) == ["latch file"]
    latch.open()
    assert not anew(latch).closed


def test_a_folder_that_cannot_be_written_refuses_the_start(tmp_path: Path) -> None:
    (tmp_path / "latches").write_text("no folder")
    with pytest.raises(InputError, match=r"latches/arm.json: a stop cannot be kept there: .*exist|Not a directory"):
        StopLatch(tmp_path / "latches" / "arm.json", "arm")


def test_a_full_disk_keeps_the_latch_closed(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    latch = StopLatch(file, "arm")
    latch.close("estop", "before")
    latch.save()

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(latch_module, "write_json", full)
        with pytest.raises(InputError, match="No space left on device"):
            latch.open()
    assert list(latch.causes) == ["estop"] and list(anew(latch).causes) == ["estop"]


def test_two_processes_never_have_one_latch(file: Path) -> None:
    latch = StopLatch(file, "arm")
    with pytest.raises(InputError, match="another driver of this robot runs"):
        StopLatch(file, "arm")
    anew(latch).let_go()


def test_what_is_written_is_whole_whenever_the_machine_stops(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    latch = StopLatch(file, "arm")
    latch.close("estop", "first")
    latch.save()
    synced: list[tuple[str, list[str]]] = []

    def sync(number: int) -> None:
        synced.append((os.readlink(f"/proc/self/fd/{number}"), list(read_latch(file).causes)))

    monkeypatch.setattr(os, "fsync", sync)
    latch.close("contact", "second")
    latch.save()
    (content, before), (folder, after) = synced
    # The new content, before it takes the place of the old one; then that it did.
    assert Path(content).parent == file.parent and before == ["estop"]
    assert folder == str(file.parent) and after == ["estop", "contact"]


def test_without_a_file_it_works_and_leaves_nothing() -> None:
    latch = StopLatch(None, "arm")
    latch.begin()
    assert latch.close("estop", "a dry run") and latch.closed
    latch.open()
    latch.end()
    assert not latch.closed


def test_latches_lie_in_the_users_state_one_for_each_node(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for state in ("", "not/absolute"):
        monkeypatch.setenv("XDG_STATE_HOME", state)
        assert default_latch_folder() == tmp_path / ".local" / "state" / "stvla_ros" / "latches"
    monkeypatch.setenv("XDG_STATE_HOME", "/var/state")
    assert default_latch_folder() == Path("/var/state/stvla_ros/latches")
    assert latch_file(Path("/f"), "/widowx_driver") == Path("/f/widowx_driver.json")
    assert latch_file(Path("/f"), "/left/widowx_driver") == Path("/f/left.widowx_driver.json")
