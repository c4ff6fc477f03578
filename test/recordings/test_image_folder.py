from pathlib import Path

import cv2
import numpy as np
import pytest

from stvla_ros.errors import InputError
from stvla_ros.recordings.open_recording import open_recording
from stvla_ros.recordings.types import FIRST_STAMP_NS


def save(path: Path, value: int) -> None:
    cv2.imwrite(str(path), np.full((6, 8, 3), (value, 0, 200), np.uint8))  # OpenCV's order: blue, green, red


def values(folder: Path, **options) -> list[tuple[int, int]]:
    """(stamp, what was saved) of each picture."""
    return [(frame.stamp_ns, int(frame.rgb[0, 0, 2])) for frame in open_recording(folder, **options)]


def test_file_names_in_nanoseconds_are_the_stamps_in_their_order(tmp_path: Path) -> None:
    for stamp, value in ((10_000_000_000, 2), (9_999_999_999, 1)):
        save(tmp_path / f"{stamp}.png", value)
    assert values(tmp_path) == [(9_999_999_999, 1), (10_000_000_000, 2)]


def test_numbered_pictures_are_spaced_by_the_rate_in_natural_order(tmp_path: Path) -> None:
    for index in (1, 2, 10):
        save(tmp_path / f"frame{index}.png", index)
    second = FIRST_STAMP_NS
    assert values(tmp_path, frame_rate=4.0) == [(second, 1), (second + 250_000_000, 2), (second + 500_000_000, 10)]


def test_small_whole_numbers_count_frames_and_are_no_stamps(tmp_path: Path) -> None:
    save(tmp_path / "000.png", 5)
    save(tmp_path / "001.png", 6)
    assert values(tmp_path, frame_rate=10.0) == [(FIRST_STAMP_NS, 5), (FIRST_STAMP_NS + 100_000_000, 6)]


@pytest.mark.parametrize("header", ["", "#timestamp [ns],filename\n", "stamp_ns,file\n"])
def test_a_table_of_stamps_gives_stamps_and_order(tmp_path: Path, header: str) -> None:
    save(tmp_path / "b.png", 1)
    save(tmp_path / "a.png", 2)
    (tmp_path / "timestamps.csv").write_text(header + "1700000000000000001,b.png\n1700000000050000000, a.png\n")
    assert values(tmp_path) == [(1700000000000000001, 1), (1700000000050000000, 2)]


@pytest.mark.parametrize("header", ["", "stamp;file\n"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_a_table_of_a_spreadsheet_has_a_mark_in_front_and_its_own_separator(
    tmp_path: Path, separator: str, header: str
) -> None:
    save(tmp_path / "a.png", 1)
    save(tmp_path / "b.png", 2)
    rows = (
        header.replace(";", separator) + f"1700000000000000001{separator}a.png\n1700000000050000000{separator}b.png\n"
    )
    (tmp_path / "timestamps.csv").write_text(rows, encoding="utf-8-sig")
    assert values(tmp_path) == [(1700000000000000001, 1), (1700000000050000000, 2)]


@pytest.mark.parametrize("unit_ns", [1_000, 1_000_000])
@pytest.mark.parametrize("table", [False, True])
def test_times_since_1970_in_another_unit_are_known_by_the_rate_that_they_would_mean(
    tmp_path: Path, unit_ns: int, table: bool
) -> None:
    stamps = [1_700_000_000_000_000_000 + number * 33_000_000 for number in range(3)]
    names = [f"{index if table else stamp // unit_ns}.png" for index, stamp in enumerate(stamps)]
    for number, name in enumerate(names):
        save(tmp_path / name, number)
    if table:
        rows = (f"{stamp // unit_ns},{name}\n" for stamp, name in zip(stamps, names, strict=True))
        (tmp_path / "timestamps.csv").write_text("".join(rows))
    assert [stamp for stamp, _ in values(tmp_path)] == stamps


@pytest.mark.parametrize("first", [10**12, 10**15])
def test_nanoseconds_of_a_clock_that_began_with_the_camera_stay_nanoseconds(tmp_path: Path, first: int) -> None:
    stamps = [first + number * 33_000_000 for number in range(3)]
    for number, stamp in enumerate(stamps):
        save(tmp_path / f"{stamp}.png", number)
    assert [stamp for stamp, _ in values(tmp_path)] == stamps


def test_depth_among_the_pictures_is_left_out_and_told(tmp_path: Path) -> None:
    save(tmp_path / "color_0.png", 7)
    cv2.imwrite(str(tmp_path / "depth_0.png"), np.full((6, 8), 900, np.uint16))
    told: list[str] = []
    assert [value for _, value in values(tmp_path, frame_rate=1.0, on_bad_frame=told.append)] == [7]
    assert "depth_0.png" in told[0] and "16 bits of grey, which hold depth" in told[0]


def test_pictures_that_lie_elsewhere_are_named(tmp_path: Path) -> None:
    (tmp_path / "rgb").mkdir()
    save(tmp_path / "rgb/1.png", 1)
    with pytest.raises(InputError, match="found none; there are some in rgb: give one of these folders"):
        open_recording(tmp_path, frame_rate=1.0)


@pytest.mark.parametrize(
    "head, said",
    [
        (b"PK\x03\x04", r"an archive \(zip\): unpack it"),
        (b"\x1f\x8b", r"an archive \(gzip\)"),
        (bytes(257) + b"ustar", r"an archive \(tar\)"),
        (cv2.imencode(".png", np.zeros((6, 8), np.uint8))[1].tobytes(), "a single picture: give its folder"),
    ],
)
def test_a_file_that_is_no_recording_is_called_what_it_is(tmp_path: Path, head: bytes, said: str) -> None:
    (tmp_path / "pictures").write_bytes(head + bytes(100))
    with pytest.raises(InputError, match=f"expected a video, a folder of pictures or a bag, got {said}"):
        open_recording(tmp_path / "pictures")


def test_a_first_line_that_is_nearly_a_stamp_is_no_header(tmp_path: Path) -> None:
    save(tmp_path / "a.png", 1)
    (tmp_path / "timestamps.csv").write_text("1700000000.5,a.png\n1700000000050000000,a.png\n")
    with pytest.raises(InputError, match="line 1: expected nanoseconds,file name; got '1700000000.5,a.png'"):
        open_recording(tmp_path)


def test_pictures_come_as_rgb(tmp_path: Path) -> None:
    save(tmp_path / "1.jpg", 30)
    rgb = next(open_recording(tmp_path, frame_rate=1.0)).rgb
    np.testing.assert_allclose(rgb[3, 3], (200, 0, 30), atol=6)


def test_pictures_without_stamps_need_a_rate(tmp_path: Path) -> None:
    save(tmp_path / "frame1.png", 1)
    with pytest.raises(InputError, match="frame_rate"):
        open_recording(tmp_path)


def test_a_folder_without_pictures_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "readme.txt").write_text("no pictures")
    with pytest.raises(InputError, match=f"{tmp_path.name}: expected .png"):
        open_recording(tmp_path, frame_rate=1.0)


def test_a_bad_line_of_the_table_is_named(tmp_path: Path) -> None:
    save(tmp_path / "a.png", 1)
    (tmp_path / "timestamps.csv").write_text("1700000000000000001,a.png\nsoon,a.png\n")
    with pytest.raises(InputError, match="line 2: .*soon"):
        open_recording(tmp_path)


def test_a_broken_picture_is_an_error_that_names_it(tmp_path: Path) -> None:
    save(tmp_path / "1.png", 1)
    (tmp_path / "2.png").write_bytes((tmp_path / "1.png").read_bytes()[:20])
    frames = open_recording(tmp_path, frame_rate=1.0)
    with pytest.raises(InputError, match="2.png"):
        list(frames)


def test_a_broken_picture_can_be_left_out_and_reported(tmp_path: Path) -> None:
    for index in (1, 3):
        save(tmp_path / f"{index}.png", index)
    (tmp_path / "2.png").write_bytes(b"broken")
    problems: list[str] = []
    frames = list(open_recording(tmp_path, frame_rate=1.0, on_bad_frame=problems.append))
    assert [frame.stamp_ns // FIRST_STAMP_NS for frame in frames] == [1, 3]
    assert len(problems) == 1 and "2.png" in problems[0]
