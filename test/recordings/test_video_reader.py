import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st

from stvla_ros.errors import InputError
from stvla_ros.recordings.open_recording import open_recording
from stvla_ros.recordings.types import FIRST_STAMP_NS


def picture(index: int, height: int = 48, width: int = 64) -> np.ndarray:
    """Grey, brighter from frame to frame (for the first twelve), with a red top left quarter."""
    rgb = np.full((height, width, 3), 20 * (index % 12), np.uint8)
    rgb[: height // 2, : width // 2] = (255, 0, 0)
    return rgb


def write_video(
    path: Path, milliseconds: list[int], options: dict | None = None, time_base: Fraction = Fraction(1, 1000)
) -> None:
    """A video whose frames are shown at these times."""
    with av.open(str(path), "w", options=options or {}) as container:
        stream = container.add_stream("libx264", rate=1 / time_base)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.time_base = time_base
        for index, time in enumerate(milliseconds):
            frame = av.VideoFrame.from_ndarray(picture(index), format="rgb24")
            frame.pts, frame.time_base = round(time / 1000 / time_base), time_base
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def test_stamps_are_the_presentation_times_also_where_they_are_uneven(tmp_path: Path) -> None:
    times = [0, 33, 100, 133, 500]
    write_video(tmp_path / "uneven.mkv", times)
    frames = list(open_recording(tmp_path / "uneven.mkv"))
    assert [frame.stamp_ns - FIRST_STAMP_NS for frame in frames] == [t * 1_000_000 for t in times]


def test_of_several_streams_the_film_is_read_and_not_its_cover(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "cover.mkv"), "w") as container:
        cover, film = container.add_stream("mjpeg", rate=1), container.add_stream("libx264", rate=25)
        cover.width, cover.height, cover.pix_fmt = 32, 32, "yuvj420p"
        film.width, film.height, film.pix_fmt = 64, 48, "yuv420p"
        container.mux(cover.encode(av.VideoFrame.from_ndarray(picture(0, 32, 32), format="rgb24")))
        for index in range(3):
            container.mux(film.encode(av.VideoFrame.from_ndarray(picture(index), format="rgb24")))
        container.mux(film.encode())
    assert [frame.rgb.shape for frame in open_recording(tmp_path / "cover.mkv")] == [(48, 64, 3)] * 3


def test_the_first_stamp_does_not_depend_on_where_the_file_starts_to_count(tmp_path: Path) -> None:
    write_video(tmp_path / "late.mkv", [5000, 5040])
    stamps = [frame.stamp_ns for frame in open_recording(tmp_path / "late.mkv")]
    assert stamps == [FIRST_STAMP_NS, FIRST_STAMP_NS + 40_000_000]


def test_frames_are_rgb_in_the_order_of_presentation(tmp_path: Path) -> None:
    write_video(tmp_path / "clip.mp4", [0, 40, 80, 120])
    frames = list(open_recording(tmp_path / "clip.mp4"))
    assert [frame.rgb.shape for frame in frames] == [(48, 64, 3)] * 4
    for index, frame in enumerate(frames):
        assert frame.rgb.dtype == np.uint8
        np.testing.assert_allclose(frame.rgb[40, 50], 20 * index, atol=8)
        np.testing.assert_allclose(frame.rgb[5, 5], (255, 0, 0), atol=12)


def test_a_video_recorded_sideways_is_turned_upright(tmp_path: Path) -> None:
    path = tmp_path / "sideways.mp4"
    write_video(path, [0, 40])
    content = bytearray(path.read_bytes())
    # The track header's transformation matrix, 16.16 fixed point (ISO 14496-12): identity to a quarter turn clockwise.
    identity = struct.pack(">9i", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)
    place = content.index(identity, content.index(b"tkhd"))
    content[place : place + 36] = struct.pack(">9i", 0, 0x10000, 0, -0x10000, 0, 0, 48 * 0x10000, 0, 0x40000000)
    path.write_bytes(content)
    rgb = next(open_recording(path)).rgb
    assert rgb.shape == (64, 48, 3)
    # Clockwise, the top left quarter becomes the top right one.
    np.testing.assert_allclose(rgb[5, 43], (255, 0, 0), atol=12)
    np.testing.assert_allclose(rgb[5, 5], 0, atol=12)


def test_a_raw_stream_without_times_is_spaced_by_its_rate(tmp_path: Path) -> None:
    path = tmp_path / "raw.h264"
    write_video(path, [0, 40, 80, 120], time_base=Fraction(1, 25))
    stamps = [frame.stamp_ns for frame in open_recording(path)]
    assert [stamp - FIRST_STAMP_NS for stamp in stamps] == [0, 40_000_000, 80_000_000, 120_000_000]


@pytest.mark.parametrize(
    ("content", "name"), [(b"", "empty.mp4"), (b"this is no video" * 100, "text.mp4"), (b"hello", "notes.txt")]
)
def test_a_file_that_is_no_video_is_an_error_that_names_it(tmp_path: Path, content: bytes, name: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=name):
        open_recording(tmp_path / name)


def test_a_video_without_its_end_is_an_error_that_names_it(tmp_path: Path) -> None:
    write_video(tmp_path / "whole.mp4", [40 * i for i in range(10)])
    content = (tmp_path / "whole.mp4").read_bytes()
    (tmp_path / "half.mp4").write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match="half.mp4"):
        open_recording(tmp_path / "half.mp4")


def test_a_video_that_breaks_off_gives_its_frames_and_then_an_error(tmp_path: Path) -> None:
    write_video(tmp_path / "whole.mp4", [40 * i for i in range(40)], options={"movflags": "faststart"})
    content = (tmp_path / "whole.mp4").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(content[:-200])
    frames = open_recording(tmp_path / "cut.mp4")
    next(frames)
    with pytest.raises(InputError, match="cut.mp4: cannot be read after [0-9]+ frames"):
        list(frames)


def test_sound_alone_is_an_error(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "sound.wav"), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with pytest.raises(InputError, match="sound.wav: expected a video stream"):
        open_recording(tmp_path / "sound.wav")


def test_a_missing_file_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nowhere.mp4: there is no such file"):
        open_recording(tmp_path / "nowhere.mp4")


@examples(quick=150)
@given(st.sampled_from(["mp4", "mkv"]), st.lists(st.tuples(st.floats(0, 1), st.integers(1, 255)), max_size=12))
def test_a_damaged_video_is_read_or_refused_in_one_line(
    tmp_path: Path, kind: str, damages: list[tuple[float, int]]
) -> None:
    whole = tmp_path / f"whole.{kind}"
    if not whole.exists():
        write_video(whole, [0, 40, 80, 120])
    content = bytearray(whole.read_bytes())
    for place, change in damages:
        content[round(place * (len(content) - 1))] ^= change
    (tmp_path / f"damaged.{kind}").write_bytes(content)
    try:
        list(open_recording(tmp_path / f"damaged.{kind}"))
    except InputError as error:
        assert "damaged" in str(error) and "\n" not in str(error)
