"""Pictures that are lost on their way, and whose shared memory is too small for them."""

import fcntl
import os
from pathlib import Path

import numpy as np
import pytest
from made_records import INFO, all_good, make_stream, only, silent

from stvla_ros.doctor.findings import Finding
from stvla_ros.doctor.records import Publisher, Stream
from stvla_ros.doctor.segments import (
    Process,
    check_lost_pictures,
    check_receive_buffer,
    check_small_segments,
    small_segments,
)

PROFILE = Path("/here/fastdds.xml")
STOCK = (Process(123, "realsense2_camera_node", 549_408),)
INFOS = make_stream("/info", INFO, count=150, hz=30.0)


def about(kept: np.ndarray, small: tuple[Process, ...] = STOCK) -> list[Finding]:
    image = make_stream("/image", count=150, hz=30.0).only(kept)
    return list(check_lost_pictures(image, INFOS, PROFILE, small))


def test_pictures_that_do_not_come_with_their_camera_info_are_lost_and_the_profile_is_named() -> None:
    kept = np.isin(np.arange(150), np.random.default_rng(0).choice(150, 56, replace=False))
    found = only(about(kept), "error", "/image: 56 of 150 pictures came; of the others only the camera_info did")
    assert f"FASTRTPS_DEFAULT_PROFILES_FILE={PROFILE}" in found.advice
    assert "realsense2_camera_node (pid 123, 0.5 MB)" in found.advice and "net.core.rmem_max" in found.advice


def test_that_none_comes_is_told_as_well() -> None:
    only(about(np.zeros(150, bool)), "error", "0 of 150 pictures came")


@pytest.mark.parametrize("kept", [np.ones(150, bool), np.arange(150) % 3 == 0, np.arange(150) != 70])
def test_all_of_them_or_every_third_or_all_but_one_are_not_lost(kept: np.ndarray) -> None:
    assert not about(kept)


def test_without_a_camera_nothing_is_said() -> None:
    nobody: Stream = silent(make_stream("/image"))
    assert not list(check_lost_pictures(nobody, INFOS, PROFILE, STOCK))
    few = make_stream("/info", INFO, count=5)
    assert not list(check_lost_pictures(silent(make_stream("/image"), Publisher("/driver", "Image")), few, PROFILE, ()))


@pytest.mark.parametrize(
    "most, reach, level",
    [
        (212_992, "", "note"),
        (212_992, "LOCALHOST", "note"),
        (212_992, "SUBNET", "warning"),
        (4_194_304, "SUBNET", "ok"),
    ],
)
def test_the_kernels_receive_buffer(most: int, reach: str, level: str) -> None:
    found = list(check_receive_buffer(most, {"ROS_AUTOMATIC_DISCOVERY_RANGE": reach}))
    assert all_good(found) if level == "ok" else only(found, level, f"net.core.rmem_max is {most}")


def segment(folder: Path, number: int, size: int) -> Path:
    """:returns: its lock."""
    file = folder / f"fastrtps_{number:016x}"
    with file.open("wb") as made:
        made.truncate(size)
    lock = folder / f"{file.name}_el"
    lock.touch()
    return lock


@pytest.mark.parametrize("largest, small", [(549_408, True), (35_127_840, False)])
def test_the_owner_of_a_segment_is_found_by_its_lock(tmp_path: Path, largest: int, small: bool) -> None:
    segment(tmp_path, 1, 549_408)  # of a process that is gone
    locks = [segment(tmp_path, 2, 549_408), segment(tmp_path, 3, largest)]
    with locks[0].open("w") as first, locks[1].open("w") as second:
        for held in (first, second):
            fcntl.flock(held, fcntl.LOCK_EX)
        found = small_segments(tmp_path)
    assert [(each.pid, each.segment) for each in found] == ([(os.getpid(), 549_408)] if small else [])
    assert len(list(check_small_segments(found, PROFILE))) == small


def test_where_nobody_tells_who_owns_what_nothing_is_said(tmp_path: Path) -> None:
    assert small_segments(tmp_path / "none", tmp_path) == ()
