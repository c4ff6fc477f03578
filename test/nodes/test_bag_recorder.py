"""The node `bag_recorder` in a process of its own; what it wrote is read back and played."""

from pathlib import Path

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.serialization import deserialize_message, serialize_message
from recording_support import (
    INTRINSICS,
    STAMPS,
    Listener,
    NodeProcess,
    depth_picture,
    listener,
    node_process,
    play,
    rgb_picture,
)
from rosbags.highlevel import AnyReader
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header, String

from stvla_ros.msg import EpisodeState, TraceArray
from stvla_ros.nodes.kit.messages import (
    array_to_image,
    image_to_rgb,
    make_camera_info,
    make_header,
    ns_to_time,
    stamp_ns,
)
from stvla_ros.recordings.open_recording import open_recording

LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
BEST_EFFORT = QoSProfile(depth=30, reliability=ReliabilityPolicy.BEST_EFFORT)


def await_recording(ears: Listener, publishers: list) -> None:
    """Until the recorder has subscribed to all of them."""
    ears.spin_until(lambda: all(publisher.get_subscription_count() for publisher in publishers))
    ears.spin(0.5)


def finish(ears: Listener, process: NodeProcess) -> int:
    ears.spin(0.5)
    process.interrupt()
    return process.wait()


def read(folder: Path) -> dict[str, list[bytes]]:
    result: dict[str, list[bytes]] = {}
    with AnyReader([folder]) as reader:
        for connection, _, data in reader.messages():
            result.setdefault(connection.topic, []).append(bytes(data))
    return result


def test_a_camera_is_recorded_bit_for_bit_and_plays_again(tmp_path: Path) -> None:
    folder = tmp_path / "bag"
    with listener() as ears:
        image = ears.node.create_publisher(Image, "image", 10)
        info = ears.node.create_publisher(CameraInfo, "camera_info", 10)
        depth = ears.node.create_publisher(Image, "sensor_depth", BEST_EFFORT)
        with node_process("bag_recorder", output=folder, topics="[image, camera_info, /sensor_depth]") as process:
            await_recording(ears, [image, info, depth])
            for index, stamp in enumerate(STAMPS):
                header = make_header(stamp, "recorded_camera")
                info.publish(make_camera_info(INTRINSICS, 64, 48, header))
                depth.publish(array_to_image(depth_picture(index), "16UC1", header))
                image.publish(array_to_image(rgb_picture(index), "rgb8", header))
                ears.spin(0.02)
            assert finish(ears, process) == 0, process.output
            assert f"bag {folder}: {3 * len(STAMPS)} messages of 3 topics recorded" in process.output
    frames = list(open_recording(folder))
    assert [frame.stamp_ns for frame in frames] == STAMPS
    for index, frame in enumerate(frames):
        np.testing.assert_array_equal(frame.rgb, rgb_picture(index))
        np.testing.assert_array_equal(frame.depth, depth_picture(index))
        np.testing.assert_array_equal(frame.camera.intrinsics, INTRINSICS)
    code, _, heard, _ = play(folder)
    assert code == 0
    assert [stamp_ns(message.header) for message in heard["image"]] == STAMPS
    np.testing.assert_array_equal(image_to_rgb(heard["image"][-1], "image"), rgb_picture(len(STAMPS) - 1))


def test_all_topics_are_found_also_late_latched_and_our_own(tmp_path: Path) -> None:
    folder = tmp_path / "bag"
    state = EpisodeState(task="stack_cube", episode_id=3)
    traces = TraceArray(header=Header(stamp=ns_to_time(5)), num_frames=1, frame_stamps=[ns_to_time(5)])
    with listener() as ears:
        latched = ears.node.create_publisher(EpisodeState, "episode_state", LATCHED)
        latched.publish(state)
        with node_process("bag_recorder", output=folder) as process:
            await_recording(ears, [latched])
            late = ears.node.create_publisher(TraceArray, "/arm/traces", 10)
            hidden = ears.node.create_publisher(String, "/arm/_internal/status", 10)
            await_recording(ears, [late])
            late.publish(traces)
            hidden.publish(String(data="not for the bag"))
            assert finish(ears, process) == 0, process.output
    recorded = read(folder)
    assert [deserialize_message(data, EpisodeState) for data in recorded["/episode_state"]] == [state]
    assert recorded["/arm/traces"] == [serialize_message(traces)]
    assert "/arm/_internal/status" not in recorded
    assert "/diagnostics" in recorded
    with AnyReader([folder]) as reader:
        (qos,) = (c.ext.offered_qos_profiles[0] for c in reader.connections if c.topic == "/episode_state")
    assert qos.durability.name == "TRANSIENT_LOCAL"


def test_in_a_namespace_it_records_its_own_topics_its_camera_and_what_is_everybodys(tmp_path: Path) -> None:
    expected = {"/left/thing", "/left/arm/thing", "/estop", "/camera/image_raw", "/diagnostics"}
    others = {"/thing", "/right/thing", "/leftover/thing"}
    with listener() as ears:
        made = {name: ears.node.create_publisher(String, name, 10) for name in (expected | others) - {"/diagnostics"}}
        of_left = ("-r", "__ns:=/left", "-r", "image:=/camera/image_raw")
        with node_process("bag_recorder", of_left, output=tmp_path / "bag") as process:
            await_recording(ears, [publisher for name, publisher in made.items() if name in expected])
            for publisher in made.values():
                publisher.publish(String(data="said"))
            assert finish(ears, process) == 0, process.output
    own = {"/rosout", "/left/bag_recorder/transition_event"}
    assert set(read(tmp_path / "bag")) - own == expected


@pytest.mark.parametrize("chosen", [{"topics": "[wanted]"}, {"exclude_topics": "[other]"}], ids=["listed", "excluded"])
def test_only_the_chosen_topics_are_recorded(tmp_path: Path, chosen: dict[str, str]) -> None:
    with listener() as ears:
        wanted, other = (ears.node.create_publisher(String, name, 10) for name in ("wanted", "other"))
        with node_process("bag_recorder", output=tmp_path / "bag", **chosen) as process:
            await_recording(ears, [wanted])
            wanted.publish(String(data="yes"))
            other.publish(String(data="no"))
            assert finish(ears, process) == 0, process.output
    recorded = read(tmp_path / "bag")
    assert "/wanted" in recorded and "/other" not in recorded
    assert ("/diagnostics" in recorded) == ("exclude_topics" in chosen)


def test_what_the_disk_cannot_take_in_time_is_dropped_and_counted(tmp_path: Path) -> None:
    """A burst of three times the queue, much faster than it can be taken off the wire and written."""
    count = 30
    with listener() as ears:
        reports = ears.listen(DiagnosticArray, "/diagnostics")
        publisher = ears.node.create_publisher(Image, "image", QoSProfile(depth=count))
        with node_process("bag_recorder", output=tmp_path / "bag", topics="[image]", queue_mb=1) as process:
            await_recording(ears, [publisher])
            picture = array_to_image(np.zeros((480, 640, 3), np.uint8), "rgb8", make_header(1, "camera"))
            for _ in range(count):
                publisher.publish(picture)

            def counted() -> dict[str, int]:
                values = [v for r in reports for s in r.status if s.name == "/bag_recorder" for v in s.values]
                return {v.key: int(v.value) for v in values if v.key in ("received", "published", "dropped")}

            ears.spin_until(lambda: counted().get("received") == count)
            ears.spin_until(lambda: counted()["published"] + counted()["dropped"] == count)
            assert finish(ears, process) == 0, process.output
            kept = len(read(tmp_path / "bag")["/image"])
    assert kept == counted()["published"]
    assert kept + counted()["dropped"] == count


def test_with_simulated_time_the_bag_starts_with_the_clock_and_not_at_zero(tmp_path: Path) -> None:
    now = STAMPS[0]
    with listener() as ears:
        latched = ears.node.create_publisher(String, "robot_description", LATCHED)
        latched.publish(String(data="<robot/>"))
        clock = ears.node.create_publisher(Clock, "/clock", 10)
        parameters = {"topics": "[robot_description, clock]", "use_sim_time": True}
        with node_process("bag_recorder", output=tmp_path / "bag", **parameters) as process:
            await_recording(ears, [latched, clock])
            for index in range(20):
                clock.publish(Clock(clock=ns_to_time(now + index * 10_000_000)))
                ears.spin(0.02)
            assert finish(ears, process) == 0, process.output
    with AnyReader([tmp_path / "bag"]) as reader:
        times = {}
        for connection, time_ns, _ in reader.messages():
            times.setdefault(connection.topic, []).append(time_ns)
    assert now <= times["/robot_description"][0] < now + 10**9
    assert min(times["/clock"]) >= now


@pytest.mark.parametrize(
    ("existing", "expected"),
    [(True, "expected a new folder, it exists already"), (False, "parameter output: expected a folder")],
)
def test_a_bad_output_ends_the_process_with_one_clear_line(tmp_path: Path, existing: bool, expected: str) -> None:
    with node_process("bag_recorder", **({"output": tmp_path} if existing else {})) as process:
        assert process.wait() == 2
    assert expected in process.lines[-1]


def test_a_full_disk_ends_the_process_with_an_error_that_names_the_bag(tmp_path: Path) -> None:
    folder = tmp_path / "bag"
    with listener() as ears:
        publisher = ears.node.create_publisher(Image, "image", 10)
        with node_process("bag_recorder", limit_file_size=3_000_000, output=folder, topics="[image]") as process:
            await_recording(ears, [publisher])
            noise = np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8)
            picture = array_to_image(noise, "rgb8", make_header(1, "camera"))
            for _ in range(20):
                publisher.publish(picture)
                ears.spin(0.05)
            assert process.wait() == 1
    assert f"bag {folder}: cannot be written (File too large)" in process.output


def test_an_interrupted_recorder_that_heard_nothing_leaves_a_readable_bag(tmp_path: Path) -> None:
    with node_process("bag_recorder", output=tmp_path / "bag", topics="[silence]") as process, listener() as ears:
        ears.spin_until(lambda: "bag_recorder" in ears.node.get_node_names())
        ears.spin(0.5)
        assert finish(ears, process) == 0, process.output
    assert read(tmp_path / "bag") == {}
