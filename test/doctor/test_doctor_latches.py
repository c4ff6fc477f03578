"""What the doctor says of stops that are kept."""

from pathlib import Path

from stvla_ros.control.safety.latch import StopLatch, latch_file
from stvla_ros.doctor.latches import check_latches


def found(folder: Path) -> list[tuple[str, str]]:
    return [(finding.level, finding.text) for finding in check_latches(folder, "widowx_driver")]


def test_a_robot_that_was_never_driven_has_an_open_latch(tmp_path: Path) -> None:
    assert found(tmp_path / "nowhere") == [
        ("ok", f"latch: open, widowx_driver has no latch file in {tmp_path / 'nowhere'}")
    ]


def test_a_closed_latch_is_told_with_its_time_and_its_cause(tmp_path: Path) -> None:
    latch = StopLatch(latch_file(tmp_path, "/left/widowx_driver"), "widowx")
    latch.close("estop", "emergency stop by the service")
    latch.save()
    StopLatch(latch_file(tmp_path, "/google_robot_driver"), "google_robot").close("contact", "another robot's")
    ((level, text),) = found(tmp_path)
    assert level == "warning" and text.startswith("latch of /left/widowx_driver: closed since 20")
    assert text.endswith("because of estop (emergency stop by the service)")
    latch.open()
    assert found(tmp_path) == [("ok", "latch of /left/widowx_driver: open")]


def test_of_a_robot_in_a_namespace_only_its_own_latch_is_told(tmp_path: Path) -> None:
    for side in ("left", "right"):
        StopLatch(latch_file(tmp_path, f"/{side}/widowx_driver"), side).begin()
    (found,) = check_latches(tmp_path, "widowx_driver", "/left")
    assert found.text.startswith("latch of /left/widowx_driver: open")
    (found,) = check_latches(tmp_path, "widowx_driver", "/middle")
    assert found.text == f"latch: open, widowx_driver has no latch file in {tmp_path}"


def test_a_file_that_cannot_be_read_is_told_as_closed(tmp_path: Path) -> None:
    latch_file(tmp_path, "/widowx_driver").write_text("{")
    ((level, text),) = found(tmp_path)
    assert level == "warning" and "latch of /widowx_driver: closed: file " in text


def test_a_driver_that_is_active_or_was_killed_is_noted(tmp_path: Path) -> None:
    StopLatch(latch_file(tmp_path, "/widowx_driver"), "widowx").begin()
    ((level, text),) = found(tmp_path)
    assert level == "note" and "open; its driver is active since" in text
