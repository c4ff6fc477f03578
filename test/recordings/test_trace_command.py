"""`stvla trace`: every frame of somebody's own material traced, with and without depth."""

import json
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from stvla_ros.recordings import trace
from stvla_ros.recordings.open_recording import frame_rate
from stvla_ros.recordings.trace import TraceArguments, main
from stvla_ros.recordings.types import RecordedFrame
from stvla_ros.recordings.video_writer import VideoWriter

FRAMES, RATE = 14, 20.0
STEP_NS = round(1e9 / RATE)


def moving_square(number: int) -> np.ndarray:
    """(96, 128, 3): a textured square that moves to the right by 5 px a frame."""
    random = np.random.default_rng(0)
    picture = np.full((96, 128, 3), 90, np.uint8)
    texture = cv2.resize(random.integers(0, 255, (6, 6, 3), dtype=np.uint8), (30, 30), interpolation=cv2.INTER_NEAREST)
    left = 10 + 5 * number
    picture[30:60, left : left + 30] = texture
    return picture


@pytest.fixture
def film(tmp_path: Path) -> Path:
    with VideoWriter(tmp_path / "film.mp4", RATE, crf=5) as writer:
        for number in range(FRAMES):
            writer.write(moving_square(number))
    return tmp_path / "film.mp4"


def test_a_video_is_traced_frame_by_frame_at_its_own_rate(
    film: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out"
    assert main(TraceArguments(str(film), str(output))) == 0
    with av.open(str(output / "video.mp4")) as video:
        assert (video.streams.video[0].frames, video.streams.video[0].average_rate) == (FRAMES, Fraction(20))
    pictures, arrays = sorted((output / "frames").glob("*.png")), sorted((output / "frames").glob("*.npz"))
    assert len(pictures) == len(arrays) == FRAMES
    with np.load(arrays[-1]) as last:
        points, visible = last["points"], last["visible"]
        assert points.shape[:2] == visible.shape and visible.any() and "depth" not in last
        moved = points[-1, :, 0] - points[-2, :, 0]
        np.testing.assert_allclose(moved[visible[-1] & visible[-2]], 5.0, atol=1.0)
    assert "video.mp4" in (output / "index.html").read_text()
    said = capsys.readouterr().out
    assert said.startswith(f"{FRAMES} frames, ") and "depth: none" in said and "note: no depth" in said
    assert json.loads((output / "summary.json").read_text())["frames_with_traces"] > 0


def test_recorded_depth_is_drawn_in_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    depth = np.full((96, 128), 800, np.uint16)
    frames = [RecordedFrame((1 + number) * STEP_NS, moving_square(number), depth=depth) for number in range(FRAMES)]
    monkeypatch.setattr(trace, "open_recording", lambda *_: iter(frames))
    assert main(TraceArguments("bag", str(tmp_path / "out"))) == 0
    with np.load(tmp_path / "out" / "frames" / f"{FRAMES - 1:06d}.npz") as last:
        assert last["traced_depth"].shape == (224, 224) and last["depth"].shape == (96, 128)
        np.testing.assert_allclose(last["depth"], 0.8)


def test_depth_in_another_unit_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    depth = np.full((96, 128), 800.0, np.float32)
    frames = [RecordedFrame((1 + number) * STEP_NS, moving_square(number), depth=depth) for number in range(FRAMES)]
    monkeypatch.setattr(trace, "open_recording", lambda *_: iter(frames))
    main(TraceArguments("bag", str(tmp_path / "out"), pictures=False))
    said = f"note: the depth of {FRAMES} frames is odd, the first: a median distance of 800 m is not that of a table"
    assert said in capsys.readouterr().err


def test_only_the_video_on_request(film: Path, tmp_path: Path) -> None:
    main(TraceArguments(str(film), str(tmp_path / "out"), pictures=False, most_frames=3))
    assert not (tmp_path / "out" / "frames").exists()
    with av.open(str(tmp_path / "out" / "video.mp4")) as video:
        assert video.streams.video[0].frames == 3


@pytest.mark.parametrize(
    ("steps", "rate"), [([], 30.0), ([50], 20.0), ([100, 100, 900], 10.0), ([0, 40, -5, 40], 25.0)]
)
def test_the_usual_step_tells_the_rate(steps: list[int], rate: float) -> None:
    stamps = [10**9 + sum(steps[:count]) * 10**6 for count in range(len(steps) + 1)]
    assert frame_rate(stamps) == rate
