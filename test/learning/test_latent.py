"""`stvla latent`: codes out of recordings, and pictures out of codes."""

import json
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest
import training_data
from made_clips import SECOND, bag, image_folder

from stvla_ros.cli import main
from stvla_ros.learning.latent.latent_codes import bits_of, read_codes
from stvla_ros.policy.families import find_family
from stvla_ros.shared_files import default_checkpoint


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random model, a folder of pictures, its codes."""
    folder = tmp_path_factory.mktemp("latent")
    find_family("ssm_vla").create(folder / "lam", "tiny", 0)
    image_folder(folder / "seen")
    run(folder, "encode", "seen", "--output", str(folder / "encoded"))
    return folder


def run(place: Path, command: str, source: str, *further: str, checkpoint: str = "lam") -> None:
    given = ["--checkpoint", str(place / checkpoint), "--cache", str(place / "cache")]
    with pytest.raises(SystemExit) as ended:
        main(["latent", command, str(place / source), *given, *further])
    assert not ended.value.code, ended.value.code


def refused(place: Path, capsys: pytest.CaptureFixture[str], command: str, source: str, *further: str) -> str:
    given = ["--checkpoint", str(place / "lam"), "--cache", str(place / "cache"), "--output", str(place / "refused")]
    with pytest.raises(SystemExit) as ended:
        main(["latent", command, str(place / source), *given, *further])
    assert ended.value.code == 2 and not (place / "refused").exists()
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    return line


def test_every_frame_has_a_row_of_codes_with_its_stamp(place: Path) -> None:
    rows = pq.read_table(place / "encoded/codes.parquet").to_pylist()
    assert len(rows) == 20
    assert [row["stamp"] for row in rows] == [1_700_000_000 * SECOND + number * SECOND // 5 for number in range(20)]
    assert rows[0]["valid"] == [True] * 3 and rows[19]["valid"] == [False] * 3
    assert all(len(row["ids"]) == 12 and min(row["ids"]) >= 0 and max(row["ids"]) < 32 for row in rows)
    codes = np.array(rows[0]["codes"]).reshape(3, 4, 16)
    assert np.linalg.norm(codes, axis=-1) == pytest.approx(np.ones((3, 4)))


def test_codes_are_read_back_as_they_were_written(place: Path) -> None:
    codes = read_codes(place / "encoded/codes.parquet")
    assert codes.keyframes_s == (0.2, 0.8, 2.4) and codes.actions.codes.shape == (20, 3, 4, 16)
    assert codes.actions.valid.sum(axis=0).tolist() == [19, 16, 8] and codes.episodes.tolist() == [0] * 20


def test_codes_are_decoded_on_their_own_pictures(place: Path) -> None:
    codes = str(place / "encoded/codes.parquet")
    run(place, "decode", "seen", "--codes", codes, "--moments", "3", "--output", str(place / "decoded"))
    names = sorted(path.name for path in (place / "decoded").iterdir())
    assert names == ["moment_000.png", "moment_001.png", "moment_002.png"]
    assert cv2.imread(str(place / "decoded/moment_000.png")).std() > 10


def test_a_latent_action_is_decoded_on_another_scene(place: Path) -> None:
    image_folder(place / "other", seed=5)
    further = ["--at", "1", "--onto", str(place / "other"), "--onto-at", "0.4", "--output", str(place / "swapped")]
    run(place, "swap", "seen", *further)
    assert len(list((place / "swapped").iterdir())) == 2


@pytest.mark.parametrize("command", ["encode", "decode", "swap", "plot"])
def test_what_is_printed_is_where_the_results_are(
    place: Path, capsys: pytest.CaptureFixture[str], command: str, tmp_path: Path
) -> None:
    given = {"decode": ["--codes", str(place / "encoded/codes.parquet")]}.get(command, [])
    run(place, command, "seen", *given, "--output", str(tmp_path / "made"))
    told = Path(capsys.readouterr().out.split()[-1])
    assert told.exists() and told.is_relative_to(tmp_path / "made")


def test_a_page_shows_moments_and_the_use_of_codes(place: Path) -> None:
    bag(place / "bag")
    run(place, "plot", "bag", "--moments", "2", "--output", str(place / "page"))
    page, summary = (place / "page/index.html").read_text(), json.loads((place / "page/summary.json").read_text())
    assert all(name in page and (place / "page" / name).is_file() for name in ("use.png", "moment_000.png"))
    assert summary["frames"] == 38 and summary["depth_explained"] == 0.0  # a new model predicts no change
    assert 1 <= summary["codes_used"] <= 32 and len(summary["code_bits"]) == 3


def test_codes_that_differ_from_query_to_query_alone_have_no_bits() -> None:
    ids, valid = np.tile(np.arange(4), (8, 2, 1)), np.ones((8, 2), bool)
    ids[:, 1, :2] = np.arange(8)[:, None] % 4
    valid[4:, 0] = False
    assert bits_of(SimpleNamespace(ids=ids, valid=valid), 32) == [0.0, 4.0]


def test_a_probe_tells_how_much_of_the_motion_is_in_the_codes(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    training_data.write(place / "acted", [training_data.demonstration(seed, 20) for seed in range(4)])
    run(place, "probe", "acted", "--output", str(place / "probed"))
    stored = json.loads((place / "probed/probe.json").read_text())
    assert (stored["frames"], stored["episodes"]) == (4 * 8, 4) and len(stored["rows"]) == 4 * 3
    assert stored["rows"][0]["told_from"] == "latent action" and stored["rows"][0]["x"]["value"] is not None
    assert (place / "probed/probe.md").read_text().strip() in capsys.readouterr().out


@pytest.mark.parametrize(
    ("command", "source", "further", "said"),
    [
        ("encode", "nowhere.mp4", [], "there is no such file or folder"),
        ("decode", "seen", [], "codes: expected a file of stvla latent encode, got none"),
        ("decode", "seen", ["--codes", "lam/config.json"], "expected a file of stvla latent encode"),
        ("decode", "other_rate", ["--codes", "encoded/codes.parquet"], "they are of other frames"),
        ("swap", "seen", ["--at", "99"], "at: expected 0 to 3.8 s"),
        ("swap", "seen", ["--at", "3.8"], "at: expected a moment with a keyframe after it"),
        ("swap", "seen", ["--episode", "7"], "episode: expected 0 to 0"),
        ("plot", "short", [], "expected a frame with a keyframe after it, there is none"),
        ("probe", "seen", [], "expected at least 3 episodes of 2.4 s or longer that tell the arm's pose"),
        ("plot", "seen", ["--depth", "nothing"], "depth: expected one of"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    place: Path, capsys: pytest.CaptureFixture[str], command: str, source: str, further: list[str], said: str
) -> None:
    for name, frames, rate in (("other_rate", 20, 10.0), ("short", 1, 5.0)):
        if not (place / name).exists():
            image_folder(place / name, frames, rate)
    given = [str(place / each) if "/" in each else each for each in further]
    assert said in refused(place, capsys, command, source, *given)


def test_a_policy_has_no_latent_actions(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["latent", "encode", str(place / "seen"), "--checkpoint", str(default_checkpoint())])
    assert "expected a latent action model, family spatialvla has none" in capsys.readouterr().err
