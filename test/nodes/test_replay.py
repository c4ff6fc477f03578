"""The node `replay` in a process of its own, heard over DDS."""

from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from recording_support import (
    INTRINSICS,
    STAMPS,
    depth_picture,
    in_one_of,
    listener,
    node_process,
    play,
    rgb_picture,
    write_bag,
)
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from stvla_ros.nodes.kit.messages import image_to_depth, image_to_rgb, ns_to_time, stamp_ns
from stvla_ros.recordings.open_recording import open_recording


def write_video(path: Path, count: int, **options: str) -> Path:
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream("libx264", rate=30)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for index in range(count):
            frame = av.VideoFrame.from_ndarray(rgb_picture(index), format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, 30)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def write_pictures(folder: Path, count: int) -> Path:
    folder.mkdir()
    for index in range(count):
        cv2.imwrite(str(folder / f"{index}.png"), cv2.cvtColor(rgb_picture(index), cv2.COLOR_RGB2BGR))
    return folder


def stamps(messages: list) -> list[int]:
    return [stamp_ns(message.header) for message in messages]


def test_a_bag_is_played_bit_for_bit_with_its_stamps_and_the_process_ends_well(tmp_path: Path) -> None:
    code, _, heard, _ = play(write_bag(tmp_path / "bag", STAMPS))
    assert code == 0
    assert stamps(heard["image"]) == stamps(heard["camera_info"]) == stamps(heard["sensor_depth"]) == STAMPS
    for index, (image, depth) in enumerate(zip(heard["image"], heard["sensor_depth"])):
        np.testing.assert_array_equal(image_to_rgb(image, "image"), rgb_picture(index))
        np.testing.assert_array_equal(image_to_depth(depth, "sensor_depth"), depth_picture(index))
    info = heard["camera_info"][0]
    np.testing.assert_array_equal(np.reshape(info.k, (3, 3)), INTRINSICS)
    assert (info.width, info.height) == (64, 48)
    assert {message.header.frame_id for message in heard["image"] + heard["camera_info"]} == {"recorded_camera"}


def test_a_video_is_played_without_camera_info_and_says_so_once(tmp_path: Path) -> None:
    video = write_video(tmp_path / "clip.mp4", 8)
    code, output, heard, _ = play(video)
    assert code == 0
    recorded = list(open_recording(video))
    assert stamps(heard["image"]) == [frame.stamp_ns for frame in recorded]
    for image, frame in zip(heard["image"], recorded):
        np.testing.assert_array_equal(image_to_rgb(image, "image"), frame.rgb)
    assert heard["camera_info"] == heard["sensor_depth"] == []
    assert output.count("no calibration recorded") == 1


def test_given_intrinsics_are_published_for_a_folder_of_pictures(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "pictures", 3)
    code, _, heard, _ = play(folder, frame_rate=20.0, intrinsics="[500.0, 501.0, 32.0, 24.0]", frame_id="wrist")
    assert code == 0
    assert np.diff(stamps(heard["image"])).tolist() == [50_000_000] * 2
    assert stamps(heard["camera_info"]) == stamps(heard["image"])
    info = heard["camera_info"][0]
    np.testing.assert_array_equal(np.reshape(info.k, (3, 3)), [[500, 0, 32], [0, 501, 24], [0, 0, 1]])
    assert (info.width, info.height, info.header.frame_id) == (64, 48, "wrist")


@pytest.mark.parametrize("rate", [1.0, 4.0])
def test_frames_come_at_the_recorded_pace_times_the_rate(tmp_path: Path, rate: float) -> None:
    pace = [10**18 + i * 200_000_000 for i in range(6)]
    source = write_bag(tmp_path / "bag", pace, depth=False)

    def on_time() -> bool:
        _, _, heard, arrivals = play(source, rate=rate)
        assert stamps(heard["image"]) == pace
        return abs(arrivals["image"][-1] - arrivals["image"][0] - 1.0 / rate) < 0.15

    assert in_one_of(6, on_time)


def test_in_lockstep_each_frame_waits_until_the_one_before_is_recorded(tmp_path: Path) -> None:
    source = write_bag(tmp_path / "bag", STAMPS, depth=False)
    waited: list[int] = []
    with listener() as ears, node_process("replay", source=source, pacing="lockstep", end_delay=0.2) as process:
        images = ears.listen(Image, "image")
        recorded = ears.node.create_publisher(Header, "recorded", 5)
        for number, stamp in enumerate(STAMPS, start=1):
            ears.spin_until(lambda count=number: len(images) == count)
            ears.spin(0.3)
            waited.append(len(images))
            recorded.publish(Header(stamp=ns_to_time(stamp)))
        assert process.wait() == 0
    assert waited == list(range(1, len(STAMPS) + 1)) and stamps(images) == STAMPS


def test_the_clock_runs_before_the_first_frame_through_every_one_and_never_backwards(tmp_path: Path) -> None:
    with listener() as ears:
        clocks = ears.listen(Clock, "/clock")
        images = ears.listen(Image, "image")
        source = write_bag(tmp_path / "bag", STAMPS, depth=False)
        with node_process("replay", source=source, end_delay=0.2) as process:
            ears.spin_until(lambda: len(images) == len(STAMPS))
            assert process.wait() == 0
            ears.spin(0.2)
    times = [clock.clock.sec * 10**9 + clock.clock.nanosec for clock in clocks]
    # A driver holds its arm while the clock stands: it runs for the start's delay.
    before = {time for time in times if time < STAMPS[0]}
    assert len(before) >= 2 and STAMPS[0] - min(before) <= 0.5e9
    assert times == sorted(times)
    assert set(STAMPS) <= set(times)
    assert times[-1] - STAMPS[-1] >= 0.15e9  # it goes on for the end's delay
    # Finer than the frames: a node's clock is not a camera period behind.
    assert len(set(times) - set(STAMPS)) > len(STAMPS)


def test_a_node_with_simulated_time_sees_a_frame_arrive_at_its_own_stamp(tmp_path: Path) -> None:
    source = write_bag(tmp_path / "bag", STAMPS, depth=False)

    def on_time() -> bool:
        ages: list[int] = []
        with listener(use_sim_time=True) as ears:
            clock = ears.node.get_clock()
            ears.node.create_subscription(
                Image, "image", lambda image: ages.append(clock.now().nanoseconds - stamp_ns(image.header)), 50
            )
            with node_process("replay", source=source):
                ears.spin_until(lambda: len(ages) == len(STAMPS))
        return max(map(abs, ages)) < 100_000_000

    assert in_one_of(6, on_time)


def test_the_first_frame_waits_for_the_subscribers(tmp_path: Path) -> None:
    source = write_bag(tmp_path / "bag", STAMPS)
    with node_process("replay", source=source, min_subscribers=2, end_delay=0.2) as process, listener() as ears:
        first = ears.listen(Image, "image")
        ears.spin_until(lambda: "waiting for 2 subscribers of /image" in process.output)
        ears.spin(1.0)
        assert first == []
        second = ears.listen(Image, "image")
        ears.spin_until(lambda: len(second) >= 2 * len(STAMPS))  # one list for one topic, filled by both
        assert process.wait() == 0


def test_frames_whose_stamps_do_not_advance_are_left_out_and_reported(tmp_path: Path) -> None:
    order = [STAMPS[0], STAMPS[1], STAMPS[1], STAMPS[0], STAMPS[2]]
    code, output, heard, _ = play(write_bag(tmp_path / "bag", order, depth=False))
    assert code == 0
    assert stamps(heard["image"]) == STAMPS[:3]
    assert f"stamp {STAMPS[1]} does not follow {STAMPS[1]}" in output


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({"source": "/nowhere/clip.mp4"}, "recording /nowhere/clip.mp4: there is no such file or folder"),
        ({"source": __file__}, f"video {__file__}: "),
        ({}, "parameter source: expected a video file"),
        ({"rate": 0.0}, "parameter rate: expected a number from 0.01 to 100.0, got 0.0"),
        ({"speed": 2.0}, "parameter speed: replay has no such parameter"),
    ],
    ids=["missing", "no video", "nothing", "rate", "unknown parameter"],
)
def test_bad_input_ends_the_process_with_one_clear_line(parameters: dict, expected: str) -> None:
    with node_process("replay", **parameters) as process:
        assert process.wait() == 2
    assert process.output.count(expected) == 1
    assert len(process.lines) == 1


def test_a_recording_that_breaks_off_ends_the_process_with_its_name_and_an_error(tmp_path: Path) -> None:
    video = write_video(tmp_path / "clip.mp4", 10, movflags="faststart")
    video.write_bytes(video.read_bytes()[:-100])
    code, output, heard, _ = play(video)
    assert code == 1
    assert 0 < len(heard["image"]) < 10
    assert "clip.mp4: cannot be read after" in output


def test_an_interrupted_replay_ends_at_once(tmp_path: Path) -> None:
    source = write_bag(tmp_path / "bag", [10**18 + i * 10**9 for i in range(100)], depth=False)
    with listener() as ears, node_process("replay", source=source) as process:
        infos = ears.listen(CameraInfo, "camera_info")
        ears.listen(Image, "image")
        ears.spin_until(lambda: bool(infos))
        process.interrupt()
        process.wait(50.0)  # of the recording's 100 seconds
