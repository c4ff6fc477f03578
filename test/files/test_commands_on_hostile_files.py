"""The commands and the node that plays recordings say the line that the readers say, and nothing besides."""

from collections.abc import Callable
from pathlib import Path

import pytest
from node_bench import ros
from refusals import refusal
from test_hostile_bags import GIB, chunk, mcap, zeros
from test_safe_files import ALIASES

from stvla_ros import cli
from stvla_ros.nodes.recording.replay import ReplayNode
from stvla_ros.policy.checkpoint_places import find_checkpoint
from stvla_ros.policy.checkpoints import read_json
from stvla_ros.recordings.open_recording import open_recording
from stvla_ros.robots.embodiments import read_embodiment


@pytest.fixture
def bomb(tmp_path: Path) -> Path:
    return mcap(tmp_path / "bomb.mcap", chunk(zeros(2 * GIB), 2 * GIB))


@pytest.fixture
def robot(tmp_path: Path) -> Path:
    (tmp_path / "robot.yaml").write_text(ALIASES)
    return tmp_path / "robot.yaml"


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    (folder / "config.json").write_text("[" * 200_000)
    return folder


def said(capsys: pytest.CaptureFixture[str], *words: str) -> list[str]:
    with pytest.raises(SystemExit) as ended:
        cli.main(list(words))
    assert ended.value.code
    told = capsys.readouterr()
    return [*told.out.splitlines(), *told.err.splitlines()]


def test_a_recording_that_is_played(bomb: Path) -> None:
    expected = refusal(lambda: list(open_recording(bomb)), bomb)
    with ros(f"source:={bomb}"):
        node = ReplayNode()
        try:
            assert refusal(node.configure, bomb) == expected
        finally:
            node.destroy_node()


def test_a_robots_file(robot: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    expected = refusal(lambda: read_embodiment(robot), robot)
    words = ("robot", "--robot", str(robot), "--use-fake-hardware", "--output", str(tmp_path / "out"))
    assert said(capsys, *words)[-1] == f"error: {expected}"


def small_file(checkpoint: Path) -> Callable[[], object]:
    return lambda: read_json(find_checkpoint(str(checkpoint)) / "config.json")


def test_a_checkpoint(checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    expected = refusal(small_file(checkpoint), checkpoint)
    assert said(capsys, "model", "inspect", "--checkpoint", str(checkpoint))[-1] == f"error: {expected}"


def test_the_doctor_finds_both(robot: Path, checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = "\n".join(said(capsys, "doctor", "--no-live", "--robot", str(robot), "--checkpoint", str(checkpoint)))
    told = " ".join(lines.split())
    assert refusal(lambda: read_embodiment(robot), robot) in told
    assert refusal(small_file(checkpoint), checkpoint) in told
