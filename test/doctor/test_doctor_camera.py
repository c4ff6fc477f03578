"""What is found out about a camera's topics, on records."""

from dataclasses import replace

import numpy as np
import pytest
from made_records import (
    BEGIN_NS,
    FRAME,
    IMAGE,
    INFO,
    MATRIX,
    SIZE,
    all_good,
    make_depth,
    make_heard,
    make_infos,
    make_pictures,
    make_stream,
    only,
    silent,
)

from stvla_ros.doctor.camera import CameraNeeds, check_camera
from stvla_ros.doctor.findings import Finding
from stvla_ros.doctor.intrinsics import check_camera_info
from stvla_ros.doctor.records import Heard, Pictures, Publisher, Stream
from stvla_ros.doctor.streams import Timing, check_timing

NEEDS = CameraNeeds(control_hz=5.0, oldest_s=1.5)


def examined(**changes: object) -> list[Finding]:
    return list(check_camera(make_heard(**changes), NEEDS))


def image_with(**changes: object) -> Heard:
    return make_heard(image=replace(make_pictures(), **changes))


def test_a_good_camera_gives_no_more_than_oks_with_its_figures() -> None:
    found = examined()
    assert all_good(found)
    assert found[0].text == "/image: 10.0 Hz, jitter 0.0 ms, largest gap 100 ms, 640x480, rgb8"
    assert any(f.text == "/image: messages are 20 ms old when they come (20 ms to 20 ms)" for f in found)
    assert any(f.text == "/depth: 80% of the pixels have a distance, median 0.75 m" for f in found)
    assert any(f.text == "/depth: 50 of 50 pictures have a depth with an equal stamp" for f in found)


# --- publishers ------------------------------------------------------------------------------------------------------


def test_no_camera_at_all_is_one_error_that_says_what_to_start_and_how_to_remap() -> None:
    other = silent(make_stream("/image", others=("/left/image", "/right/image")))
    found = only(
        examined(
            image=Pictures(other),
            camera_info=replace(make_infos(), stream=silent(make_infos().stream)),
            depth=Pictures(silent(make_depth().stream)),
        ),
        "error",
        "nobody publishes /image, /info, /depth",
    )
    assert "ros2 launch realsense2_camera" in found.advice
    assert "--image-topic, --camera-info-topic, --depth-topic here, image_topic:=" in found.advice
    assert "sensor_msgs/msg/Image comes on /left/image, /right/image" in found.advice


def test_one_topic_without_publisher_is_named_with_its_option_and_what_there_is_instead() -> None:
    depth = Pictures(silent(make_stream("/depth", others=tuple(f"/d{i}" for i in range(8)))))
    found = only(examined(depth=depth), "error", "nobody publishes /depth (sensor_msgs/msg/Image)")
    assert "--depth-topic (empty for a camera without depth) here, depth_topic:= in robot.launch.py" in found.advice
    assert found.advice.endswith("/d4, /d5 and 2 more")


@pytest.mark.parametrize(
    "publishers, text",
    [
        (
            [Publisher("/d", "sensor_msgs/msg/CompressedImage")],
            "/image is a topic of sensor_msgs/msg/CompressedImage, expected sensor_msgs/msg/Image",
        ),
        ([Publisher("/d", IMAGE)], "/image: /d publishes it, but nothing came in 5.0 s"),
    ],
)
def test_a_topic_that_brings_nothing(publishers: list[Publisher], text: str) -> None:
    only(examined(image=Pictures(silent(make_pictures().stream, *publishers))), "error", text)


@pytest.mark.parametrize(
    "publishers, level, text",
    [
        ([Publisher("/d", IMAGE, True, "durability differs")], "error", "quality of service of /d does not fit: durab"),
        ([Publisher("/d", IMAGE, False)], "note", "/d publishes with best effort"),
        ([Publisher("/d", IMAGE), Publisher("/e", IMAGE)], "warning", "/image has 2 publishers: /d, /e"),
    ],
)
def test_publishers(publishers: list[Publisher], level: str, text: str) -> None:
    only(check_camera(image_with(stream=make_stream("/image", publishers=tuple(publishers))), NEEDS), level, text)


def test_a_second_publisher_of_another_type() -> None:
    publishers = (Publisher("/d", INFO), Publisher("/e", IMAGE))
    stream = make_stream("/info", INFO, publishers=publishers)
    found = examined(camera_info=replace(make_infos(), stream=stream))
    assert [f.text for f in found if f.level == "warning"] == [
        "/info is also published with another type",
        "/info has 2 publishers: /d, /e",
    ]


def test_without_a_depth_topic_the_rest_is_checked_and_a_note_says_so() -> None:
    only(examined(depth=None), "note", "no depth topic was given")


# --- rate ------------------------------------------------------------------------------------------------------------


def slowed(hz: float) -> dict[str, object]:
    return {
        "image": replace(make_pictures(), stream=make_stream("/image", hz=hz)),
        "depth": replace(make_depth(), stream=make_stream("/depth", hz=hz)),
        "camera_info": replace(make_infos(), stream=make_stream("/info", INFO, hz=hz)),
    }


def test_fewer_pictures_than_control_steps() -> None:
    errors = [f.text for f in examined(**slowed(4.0)) if f.level == "error"]
    assert errors == [
        "/image: 4.0 Hz, at least 5 Hz are needed",
        "/depth: 4.0 Hz, at least 5 Hz are needed",
    ]
    assert all_good(examined(**slowed(5.0)))


def test_a_gap_that_costs_a_control_step_and_a_gap_that_does_not() -> None:
    stream = make_stream("/image", hz=30.0)
    kept = np.ones(50, bool)
    kept[20:32] = False
    only(
        check_timing(stream.only(kept), NEEDS.timing),
        "warning",
        "a gap of 0.43 s; control steps get no new picture after 0.40 s",
    )
    kept[20:27] = True
    found = list(check_timing(stream.only(kept), Timing(5.0, 1.0, "")))
    only(found, "note", "the largest gap is")
    assert "largest gap 200 ms" in found[0].text


def test_one_message_has_no_rate() -> None:
    stream = make_stream("/image", count=1, listened_s=3.0)
    only(check_timing(stream, NEEDS.timing), "error", "/image: 0.0 Hz, at least 5 Hz")


# --- stamps ----------------------------------------------------------------------------------------------------------


def stamped(stamps: np.ndarray | None = None, ages: np.ndarray | None = None, **changes: object) -> Stream:
    good = make_stream("/image", **changes)
    return replace(
        good,
        stamps_ns=good.stamps_ns if stamps is None else stamps,
        ages_s=good.ages_s if ages is None else ages,
    )


def about_image(stream: Stream, needs: CameraNeeds = NEEDS, clocks: int = 0) -> list[Finding]:
    """Findings of a camera all topics of which have these stamps."""
    heard = Heard(
        replace(make_pictures(), stream=stream),
        replace(make_infos(), stream=replace(stream, topic="/info", type=INFO, publishers=(Publisher("/d", INFO),))),
        None,
        None,
        None,
        "",
        {},
        clocks,
    )
    return [f for f in check_camera(heard, needs) if not f.text.startswith("no depth topic")]


def test_stamps_of_zero() -> None:
    stream = make_stream("/image")
    stamps = stream.stamps_ns.copy()
    stamps[:5] = 0
    only(about_image(stamped(stamps)), "error", "/image: 5 of 50 stamps are zero")
    only(about_image(stamped(np.zeros(50, np.int64))), "error", "/image: 50 of 50 stamps are zero")


@pytest.mark.parametrize("count, level", [(2, "warning"), (20, "error")])
def test_repeated_stamps(count: int, level: str) -> None:
    stamps = make_stream("/image").stamps_ns.copy()
    stamps[1 : 2 * count : 2] = stamps[0 : 2 * count : 2]
    only(about_image(stamped(stamps)), level, f"/image: {count} of 49 stamps are repeated")


@pytest.mark.parametrize("count, level", [(1, "warning"), (10, "error")])
def test_stamps_that_run_backwards(count: int, level: str) -> None:
    stamps = make_stream("/image").stamps_ns.copy()
    stamps[3 : 3 + 4 * count : 4] -= 150_000_000
    only(about_image(stamped(stamps)), level, f"/image: {count} of 49 stamps are older than the one before")


@pytest.mark.parametrize(
    "age_s, level, text",
    [
        (1.7e9, "error", "messages are 19675.9 days old when they come; nothing older than 1.5 s"),
        (2.0, "error", "messages are 2.0 s old when they come"),
        (0.9, "warning", "messages are up to 900 ms old when they come"),
        (-0.05, "warning", "stamps are up to 50 ms ahead of this machine's clock"),
        (-5400.0, "error", "stamps are up to 1.5 hours ahead of this machine's clock; commands"),
    ],
)
def test_ages(age_s: float, level: str, text: str) -> None:
    found = only(about_image(stamped(ages=np.full(50, age_s))), level, text)
    assert "/clock" not in found.advice


def test_a_played_recording_is_recognised_by_its_clock() -> None:
    old = stamped(ages=np.full(50, 1e6))
    assert "give --use-sim-time" in only(about_image(old, clocks=1), "error", "old when they come").advice
    lacking = replace(NEEDS, use_sim_time=True)
    only(about_image(stamped(), lacking), "error", "nobody publishes /clock")
    assert all_good(about_image(stamped(), lacking, clocks=1))


# --- what belongs together -------------------------------------------------------------------------------------------


def test_camera_info_without_the_pictures_stamps_or_frame() -> None:
    stream = make_stream("/info", INFO)
    off = replace(stream, stamps_ns=stream.stamps_ns + 60 * 10**9)
    only(examined(camera_info=replace(make_infos(), stream=off)), "warning", "/info: 0 of 50 pictures have one")
    once = stream.only(np.arange(50) == 7)
    only(examined(camera_info=replace(make_infos(), stream=once)), "warning", "/info: 1 of 50 pictures have one")
    other = replace(stream, frame_ids=frozenset({"depth_frame"}))
    only(examined(camera_info=replace(make_infos(), stream=other)), "warning", "/info: frame_id depth_frame is not")


def test_camera_info_that_was_sent_once_is_enough() -> None:
    infos = make_infos()
    kept = replace(infos, stream=silent(infos.stream, *infos.stream.publishers), latched=True)
    found = examined(camera_info=kept)
    assert {finding.level for finding in found} == {"ok", "note"}
    assert any(f.text.startswith("/info: was sent once, and left on the topic") for f in found)


def test_depth_of_another_size_or_another_frame() -> None:
    depth = make_depth()
    only(
        examined(depth=replace(depth, sizes=frozenset({(848, 480)}))),
        "error",
        "/depth: 848x480 pixels, the picture has 640x480: it is not registered",
    )
    frame = replace(depth.stream, frame_ids=frozenset({"depth_frame"}))
    only(
        examined(depth=replace(depth, stream=frame)), "note", f"/depth: frame_id depth_frame, the picture's is {FRAME}"
    )


def test_depth_without_the_pictures_stamps() -> None:
    depth = make_depth()
    off = replace(depth.stream, stamps_ns=depth.stream.stamps_ns - BEGIN_NS + 1)
    only(
        examined(depth=replace(depth, stream=off)),
        "error",
        "/depth: 0 of 50 pictures have a depth with an equal stamp (50 pictures, 50 depths, nearest 53.9 years apart)",
    )
    some = np.ones(50, bool)
    some[5:45:5] = False
    only(
        examined(depth=replace(depth, stream=depth.stream.only(some))),
        "warning",
        "/depth: 42 of 50 pictures have a depth with an equal stamp; the others are not used",
    )


def test_depths_that_are_stamped_a_little_later_belong_to_the_pictures() -> None:
    depth = make_depth()
    late = replace(depth.stream, stamps_ns=depth.stream.stamps_ns + 4_000_000)
    found = examined(depth=replace(depth, stream=late))
    assert all_good(found)
    assert any(f.text == "/depth: 50 of 50 pictures have a depth, stamps up to 4.0 ms apart" for f in found)


@pytest.mark.parametrize(
    "share, median, level, text",
    [
        (0.0, np.nan, "error", "0.0% of the pixels have a distance"),
        (0.2, 0.7, "warning", "20% of the pixels have a distance, median 0.70 m"),
        (0.8, 750.0, "error", "a median distance of 750 m"),
        (0.8, 0.00075, "error", "a median distance of 0.00075 m"),
    ],
)
def test_readings_of_the_depth(share: float, median: float, level: str, text: str) -> None:
    depth = replace(make_depth(), valid_shares=np.full(5, share), medians_m=np.full(5, median))
    only(examined(depth=depth), level, text)


def test_a_depth_that_is_always_the_same() -> None:
    found = examined(depth=replace(make_depth(), still_s=3.0))
    only(found, "warning", "/depth: no new depth for 3.0 s under new stamps: a working sensor repeats no map")


@pytest.mark.parametrize(
    "changes, level, text",
    [
        ({"problem": "topic image: expected rgb8, got jpeg"}, "error", "topic image: expected rgb8, got jpeg"),
        ({"stuck": "no new picture for 4.0 s"}, "error", "/image: no new picture for 4.0 s; the policy does not act"),
        ({"sizes": frozenset({SIZE, (320, 240)})}, "error", "the size changes: 320x240, 640x480"),
    ],
)
def test_pictures(changes: dict[str, object], level: str, text: str) -> None:
    found = [f for f in check_camera(replace(image_with(**changes), depth=None), NEEDS) if f.level != "note"]
    only(found, level, text)


@pytest.mark.parametrize(
    "frames, text", [({""}, "/image: frame_id is empty"), ({"a", "b"}, "/image: frame_id changes: a, b")]
)
def test_frame_ids(frames: set[str], text: str) -> None:
    found = about_image(make_stream("/image", frame_ids=frozenset(frames)))
    only(found, "warning", text)


# --- intrinsics ------------------------------------------------------------------------------------------------------


def about_intrinsics(sizes: frozenset[tuple[int, int]] = frozenset({SIZE}), **changes: object) -> list[Finding]:
    return list(check_camera_info(replace(make_infos(), **changes), sizes))


def with_entry(row: int, column: int, value: float) -> np.ndarray:
    matrix = MATRIX.copy()
    matrix[row, column] = value
    return matrix


def test_good_intrinsics() -> None:
    (found,) = about_intrinsics()
    assert found.level == "ok"
    assert found.text == "/info: fx 600.0, fy 600.0, cx 320.0, cy 240.0 pixels, for 640x480"
    assert all_good(about_intrinsics(size=(0, 0)))


@pytest.mark.parametrize(
    "changes, level, text",
    [
        ({"matrix": None}, "error", "no intrinsics came"),
        ({"matrix": np.zeros((3, 3))}, "error", "expected positive fx and fy in pixels, got 0 and 0"),
        ({"matrix": with_entry(1, 1, -600.0)}, "error", "expected positive fx and fy"),
        ({"matrix": with_entry(0, 2, np.nan)}, "error", "expected finite numbers"),
        (
            {"matrix": with_entry(0, 2, 960.0)},
            "error",
            "the principal point 960.0, 240.0 is outside the picture of 640",
        ),
        ({"matrix": with_entry(1, 2, -1.0)}, "error", "the principal point 320.0, -1.0 is outside"),
        ({"size": (1280, 720)}, "error", "for pictures of 1280x720, they are 640x480"),
        ({"size": (1280, 960)}, "note", "for pictures of 1280x960, they are 640x480: scaled to them"),
        ({"distortion": (0.1, -0.25, 0.0, 0.0, 0.0)}, "note", "the lens distorts by up to 3 pixels (plumb_bob)"),
        ({"distortion": (np.nan,)}, "error", "distortion coefficients are not finite"),
    ],
)
def test_intrinsics(changes: dict[str, object], level: str, text: str) -> None:
    only(about_intrinsics(**changes), level, text)


def test_intrinsics_without_pictures_are_not_compared() -> None:
    only(about_intrinsics(frozenset()), "note", "not compared with a picture")
