"""Videos that browsers play."""

import contextlib
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest

from stvla_ros.errors import InputError
from stvla_ros.recordings.video_writer import VideoWriter


def frame(i: int, height: int = 48, width: int = 64) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    return np.stack([x * 2 + i, y * 2 + i, np.full_like(x, 10 * i)], axis=-1).astype(np.uint8)


def test_what_was_written_can_be_read_back(tmp_path):
    path = tmp_path / "runs" / "a.mp4"
    with VideoWriter(path, fps=5, crf=10) as video:
        for i in range(12):
            video.write(frame(i))
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.pix_fmt, stream.average_rate) == ("h264", "yuv420p", 5)
        read = list(container.decode(video=0))
    assert [picture.time for picture in read] == pytest.approx([i / 5 for i in range(12)])
    for i, picture in enumerate(read):
        assert np.abs(picture.to_ndarray(format="rgb24").astype(int) - frame(i)).mean() < 4


def test_a_browser_can_start_before_it_has_the_whole_file(tmp_path):
    path = tmp_path / "a.mp4"
    with VideoWriter(path, fps=30) as video:
        video.write(frame(0))
    data = path.read_bytes()
    assert 0 < data.index(b"moov") < data.index(b"mdat")


def test_the_file_is_whole_when_the_block_ends_with_an_error(tmp_path):
    path = tmp_path / "a.mp4"
    with pytest.raises(ZeroDivisionError), VideoWriter(path, fps=29.97) as video:
        video.write(frame(0))
        video.write(frame(1))
        1 / 0  # noqa: B018
    with av.open(str(path)) as container:
        assert sum(1 for _ in container.decode(video=0)) == 2


def test_a_video_without_frames_leaves_no_file(tmp_path):
    path = tmp_path / "a.mp4"
    VideoWriter(path, fps=5).close()
    assert not path.exists()


def test_closing_twice_is_safe_and_nothing_is_written_after_it(tmp_path):
    video = VideoWriter(tmp_path / "a.mp4", fps=5)
    video.write(frame(0))
    video.close()
    video.close()
    with pytest.raises(InputError, match="closed"):
        video.write(frame(1))
    assert video.frames == 1 and video.path.exists()


@pytest.mark.parametrize(
    "bad", [frame(0, 47, 64), frame(0, 48, 63), frame(0).astype(np.float32), frame(0)[..., 0], frame(0)[:0]]
)
def test_a_frame_that_h264_cannot_hold_is_refused(bad, tmp_path):
    with VideoWriter(tmp_path / "a.mp4", fps=5) as video, pytest.raises(InputError, match="a.mp4.*even"):
        video.write(bad)


def test_a_frame_of_another_size_is_refused_and_the_video_goes_on(tmp_path):
    with VideoWriter(tmp_path / "a.mp4", fps=5) as video:
        video.write(frame(0))
        with pytest.raises(InputError, match="64x48, got 66x50"):
            video.write(frame(0, 50, 66))
        video.write(frame(1))
    with av.open(str(tmp_path / "a.mp4")) as container:
        assert sum(1 for _ in container.decode(video=0)) == 2


@pytest.mark.parametrize(
    ("name", "params", "said"),
    [
        ("a.avi", {"fps": 5}, "mp4"),
        ("a.mp4", {"fps": 0}, "fps"),
        ("a.mp4", {"fps": float("nan")}, "fps"),
        ("a.mp4", {"fps": 5, "crf": 90}, "crf"),
        ("file/a.mp4", {"fps": 5}, "cannot be written"),
    ],
)
def test_a_bad_parameter_is_named(name, params, said, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(InputError, match=said):
        VideoWriter(tmp_path / name, **params)


NOISE = """
import os, sys
import numpy as np
from stvla_ros.errors import InputError
from stvla_ros.recordings.video_writer import VideoWriter
random = np.random.default_rng(0)
video = VideoWriter(sys.argv[1], fps=30)
try:
    for _ in range(int(sys.argv[2])):
        video.write(random.integers(0, 256, (120, 160, 3), np.uint8))
except InputError as error:
    print(error, flush=True)  # nothing is flushed at such an exit
    video.close()
os._exit(0)
"""


def written_by_another_process(path: Path, frames: int, most_bytes: int = 10**9) -> str:
    limit = ["prlimit", f"--fsize={most_bytes}"]
    command = [*limit, sys.executable, "-c", NOISE, str(path), str(frames)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def pictures_in(path: Path) -> int:
    count = 0
    with av.open(str(path)) as container, contextlib.suppress(av.error.InvalidDataError):
        for _ in container.decode(video=0):
            count += 1
    return count


def test_what_a_killed_process_wrote_can_be_played_up_to_the_last_second(tmp_path):
    written_by_another_process(tmp_path / "a.mp4", frames=150)
    assert pictures_in(tmp_path / "a.mp4") >= 60  # the encoder holds some back as well


def test_what_a_full_disk_took_can_be_played(tmp_path):
    said = written_by_another_process(tmp_path / "a.mp4", frames=600, most_bytes=1_500_000)
    assert said == f"video {tmp_path / 'a.mp4'}: cannot be written (File too large)\n"
    assert pictures_in(tmp_path / "a.mp4") >= 20
