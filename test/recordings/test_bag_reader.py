import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from stvla_ros.errors import InputError
from stvla_ros.recordings import bag_reader
from stvla_ros.recordings.bag_reader import BagTopics
from stvla_ros.recordings.open_recording import open_recording

STORE = get_typestore(Stores.ROS2_JAZZY)
TYPES = STORE.types
STORAGES = pytest.mark.parametrize("storage", [StoragePlugin.MCAP, StoragePlugin.SQLITE3])


def header(stamp: int, frame_id: str = "camera_optical") -> Any:
    time = TYPES["builtin_interfaces/msg/Time"](sec=stamp // 10**9, nanosec=stamp % 10**9)
    return TYPES["std_msgs/msg/Header"](stamp=time, frame_id=frame_id)


def image(stamp: int, picture: np.ndarray, encoding: str) -> Any:
    return TYPES["sensor_msgs/msg/Image"](
        header=header(stamp),
        height=picture.shape[0],
        width=picture.shape[1],
        encoding=encoding,
        is_bigendian=0,
        step=picture[0].nbytes,
        data=picture.reshape(-1).view(np.uint8),
    )


def compressed(stamp: int, rgb: np.ndarray, suffix: str = "png") -> Any:
    data = cv2.imencode(f".{suffix}", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))[1].reshape(-1)
    return TYPES["sensor_msgs/msg/CompressedImage"](
        header=header(stamp), format=f"rgb8; {suffix} compressed", data=data
    )


def camera_info(stamp: int, fx: float = 500.0) -> Any:
    return TYPES["sensor_msgs/msg/CameraInfo"](
        header=header(stamp),
        height=6,
        width=8,
        distortion_model="plumb_bob",
        d=np.array([0.1, 0.2, 0.3, 0.4, 0.5]),
        k=np.array([fx, 0, 4, 0, fx, 3, 0, 0, 1.0]),
        r=np.eye(3).reshape(9),
        p=np.array([fx + 1, 0, 4, 0, 0, fx + 1, 3, 0, 0, 0, 1.0, 0]),
        binning_x=0,
        binning_y=0,
        roi=TYPES["sensor_msgs/msg/RegionOfInterest"](x_offset=0, y_offset=0, height=0, width=0, do_rectify=False),
    )


def rgb_picture(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (6, 8, 3), np.uint8)


def depth_picture(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 5000, (6, 8), np.uint16)


@dataclass
class Bag:
    """Messages in the order of recording, 1 ms apart."""

    messages: list[tuple[str, Any]] = field(default_factory=list)

    def add(self, topic: str, message: Any) -> "Bag":
        self.messages.append((topic, message))
        return self

    def write(self, folder: Path, storage: StoragePlugin = StoragePlugin.MCAP) -> Path:
        with Writer(folder, version=8, storage_plugin=storage) as writer:
            connections: dict[str, Any] = {}
            for index, (topic, message) in enumerate(self.messages):
                name = message.__msgtype__
                if topic not in connections:
                    connections[topic] = writer.add_connection(topic, name, typestore=STORE)
                writer.write(connections[topic], 10**9 + index * 10**6, STORE.serialize_cdr(message, name))
        return folder


STAMPS = (1_700_000_000_000_000_007, 1_700_000_000_033_000_000, 1_700_000_000_066_000_000)


def rgbd_bag() -> Bag:
    bag = Bag()
    for index, stamp in enumerate(STAMPS):
        bag.add("/camera/image", image(stamp, rgb_picture(index), "rgb8"))
        bag.add("/camera/sensor_depth", image(stamp, depth_picture(index), "16UC1"))
        bag.add("/camera/camera_info", camera_info(stamp))
    return bag


@STORAGES
def test_pictures_calibration_and_depth_come_with_the_recorded_stamps(tmp_path: Path, storage: StoragePlugin) -> None:
    frames = list(open_recording(rgbd_bag().write(tmp_path / "bag", storage)))
    assert [frame.stamp_ns for frame in frames] == list(STAMPS)
    for index, frame in enumerate(frames):
        np.testing.assert_array_equal(frame.rgb, rgb_picture(index))
        np.testing.assert_array_equal(frame.depth, depth_picture(index))
        assert frame.depth.dtype == np.uint16
        assert frame.frame_id == "camera_optical"
    camera = frames[0].camera
    assert (camera.width, camera.height, camera.distortion_model) == (8, 6, "plumb_bob")
    np.testing.assert_array_equal(camera.intrinsics, [[500, 0, 4], [0, 500, 3], [0, 0, 1]])
    np.testing.assert_array_equal(camera.distortion, [0.1, 0.2, 0.3, 0.4, 0.5])
    np.testing.assert_array_equal(camera.projection, [[501, 0, 4, 0], [0, 501, 3, 0], [0, 0, 1, 0]])


@STORAGES
def test_a_single_storage_file_is_a_bag_too(tmp_path: Path, storage: StoragePlugin) -> None:
    folder = rgbd_bag().write(tmp_path / "bag", storage)
    (file,) = (path for path in folder.iterdir() if path.name != "metadata.yaml")
    assert len(list(open_recording(file))) == 3
    (folder / "metadata.yaml").unlink()
    assert len(list(open_recording(folder))) == 3


@pytest.mark.parametrize(
    ("encoding", "code"),
    [
        ("bgr8", cv2.COLOR_RGB2BGR),
        ("8UC3", cv2.COLOR_RGB2BGR),
        ("rgba8", cv2.COLOR_RGB2RGBA),
        ("bgra8", cv2.COLOR_RGB2BGRA),
    ],
)
def test_colour_encodings_become_rgb(tmp_path: Path, encoding: str, code: int) -> None:
    bag = Bag().add("/image", image(5, cv2.cvtColor(rgb_picture(0), code), encoding)).write(tmp_path / "bag")
    np.testing.assert_array_equal(next(open_recording(bag)).rgb, rgb_picture(0))


def test_grey_pictures_become_rgb(tmp_path: Path) -> None:
    grey = rgb_picture(0)[..., 0]
    bag = Bag().add("/image", image(5, grey, "mono8")).write(tmp_path / "bag")
    np.testing.assert_array_equal(next(open_recording(bag)).rgb, np.dstack([grey] * 3))


def test_compressed_pictures_are_decoded_to_rgb_with_the_calibration_beside_them(tmp_path: Path) -> None:
    bag = Bag().add("/cam/image_raw/compressed", compressed(5, rgb_picture(3))).add("/cam/camera_info", camera_info(5))
    (frame,) = open_recording(bag.write(tmp_path / "bag"))
    np.testing.assert_array_equal(frame.rgb, rgb_picture(3))
    assert frame.camera.intrinsics[0, 0] == 500


def compressed_depth(stamp: int, depth: np.ndarray, form: str) -> Any:
    head = struct.pack("<iff", 0, 0.0, 0.0) if "compressedDepth" in form else b""
    data = np.frombuffer(head + cv2.imencode(".png", depth)[1].tobytes(), np.uint8)
    return TYPES["sensor_msgs/msg/CompressedImage"](header=header(stamp), format=form, data=data)


@pytest.mark.parametrize(
    "form, topic", [("16UC1; compressedDepth", "/d/compressedDepth"), ("16UC1; png compressed ", "/d/compressed")]
)
def test_compressed_depth_is_decoded(tmp_path: Path, form: str, topic: str) -> None:
    bag = Bag().add("/cam/image_raw/compressed", compressed(5, rgb_picture(3)))
    bag.add(topic, compressed_depth(5, depth_picture(3), form))
    (frame,) = open_recording(bag.write(tmp_path / "bag"), BagTopics(depth=topic))
    np.testing.assert_array_equal(frame.depth, depth_picture(3))


def test_a_png_of_16_bits_is_not_taken_for_the_colour_picture(tmp_path: Path) -> None:
    bag = Bag().add("/d/compressed", compressed_depth(5, depth_picture(3), "16UC1; png compressed "))
    with pytest.raises(InputError, match="expected a topic of colour pictures, found none"):
        open_recording(bag.write(tmp_path / "bag"))


def test_a_png_of_16_bits_is_depth_whatever_its_format_is_called(tmp_path: Path) -> None:
    bag = Bag().add("/cam/image_raw", image(5, rgb_picture(3), "rgb8"))
    bag.add("/d/compressed", compressed_depth(5, depth_picture(3), "png"))
    (frame,) = open_recording(bag.write(tmp_path / "bag"))
    np.testing.assert_array_equal(frame.depth, depth_picture(3))


@pytest.mark.parametrize("encoding, dtype", [("8UC1", np.uint8), ("mono8", np.uint8), ("64FC1", np.float64)])
def test_depth_that_cannot_be_read_is_no_picture_and_is_told(tmp_path: Path, encoding: str, dtype: type) -> None:
    bag = Bag().add("/cam/color", image(5, rgb_picture(3), "rgb8"))
    bag.add("/cam/depth", image(5, depth_picture(3).astype(dtype), encoding))
    told: list[str] = []
    (frame,) = open_recording(bag.write(tmp_path / "bag"), on_bad_frame=told.append)
    np.testing.assert_array_equal(frame.rgb, rgb_picture(3))
    assert frame.depth is None
    assert "expected 16UC1 or mono16 or 32FC1 of the picture's frame and size" in told[0]
    assert f"there is /cam/depth (8x6 {encoding} camera_optical)" in told[0]


def test_where_no_picture_can_be_decoded_the_error_says_why(tmp_path: Path) -> None:
    bag = Bag().add("/cam/color", image(5, rgb_picture(3), "YUV444"))
    with pytest.raises(
        InputError, match=r"found none; the first was left out: .* expected one of mono8, .* got 'YUV444'"
    ):
        open_recording(bag.write(tmp_path / "bag"), on_bad_frame=lambda _: None)


def test_brightness_of_16_bits_alone_is_told_as_depth(tmp_path: Path) -> None:
    bag = Bag().add("/infra", image(5, depth_picture(3), "mono16"))
    with pytest.raises(InputError, match=r"found none; .*; of depth: /infra \(8x6 mono16 camera_optical\)"):
        open_recording(bag.write(tmp_path / "bag"))


def test_of_pictures_that_were_also_sent_compressed_the_raw_ones_are_read(tmp_path: Path) -> None:
    bag = Bag().add("/cam/image_raw/compressed", compressed(5, rgb_picture(3)))
    bag.add("/cam/image_raw", image(6, rgb_picture(4), "rgb8"))
    assert [frame.stamp_ns for frame in open_recording(bag.write(tmp_path / "bag"))] == [6]


def test_depth_of_another_stamp_is_not_joined(tmp_path: Path) -> None:
    bag = Bag().add("/image", image(100, rgb_picture(0), "rgb8"))
    bag.add("/sensor_depth", image(101, depth_picture(0), "16UC1"))
    assert next(open_recording(bag.write(tmp_path / "bag"))).depth is None


def bag_with_depth_later(tmp_path: Path, later: int) -> Path:
    bag = Bag()
    for index in range(50):
        stamp = 10**9 + index * 33_333_333
        bag.add("/image", image(stamp, rgb_picture(index), "rgb8"))
        bag.add("/sensor_depth", image(stamp + later, depth_picture(index), "16UC1"))
    return bag.write(tmp_path / "bag")


@pytest.mark.parametrize("later", [-12_000_000, 4_000_000])
def test_depth_that_is_stamped_a_little_earlier_or_later_is_its_pictures(tmp_path: Path, later: int) -> None:
    frames = list(open_recording(bag_with_depth_later(tmp_path, later)))
    assert [frame.stamp_ns for frame in frames] == [10**9 + index * 33_333_333 for index in range(50)]
    for index, frame in enumerate(frames):
        np.testing.assert_array_equal(frame.depth, depth_picture(index))


def test_depths_none_of_which_belongs_to_a_picture_are_told_once_with_their_distance(tmp_path: Path) -> None:
    said: list[str] = []
    bag = bag_with_depth_later(tmp_path, 4_000_000)
    frames = list(open_recording(bag, on_bad_frame=said.append, tolerance_ns=1_000_000))
    assert [frame.depth for frame in frames] == [None] * 50
    (line,) = said
    assert line.startswith(f"bag {bag}, topics /image and /sensor_depth: 41 pictures, 40 depths, nearest 4.0 ms apart")


def test_depth_that_lags_half_a_second_behind_is_joined(tmp_path: Path) -> None:
    bag = Bag()
    for index in range(60):
        bag.add("/image", image(index + 1, rgb_picture(index), "rgb8"))
        if index >= 15:
            bag.add("/sensor_depth", image(index - 14, depth_picture(index - 15), "16UC1"))
    frames = list(open_recording(bag.write(tmp_path / "bag")))
    assert [frame.stamp_ns for frame in frames] == list(range(1, 61))
    for index in range(45):
        np.testing.assert_array_equal(frames[index].depth, depth_picture(index))
    assert [frame.depth for frame in frames[45:]] == [None] * 15


def test_a_depth_topic_that_dies_does_not_hold_the_pictures_back_for_ever(tmp_path: Path) -> None:
    bag = Bag().add("/sensor_depth", image(1, depth_picture(0), "16UC1"))
    for index in range(100):
        bag.add("/image", image(index + 1, rgb_picture(index), "rgb8"))
    frames = list(open_recording(bag.write(tmp_path / "bag")))
    assert [frame.stamp_ns for frame in frames] == list(range(1, 101))
    assert [frame.depth is not None for frame in frames] == [True] + [False] * 99


def test_pictures_wait_for_a_depth_topic_that_died_no_longer_than_the_look_ahead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bag = Bag().add("/sensor_depth", image(1, depth_picture(0), "16UC1"))
    for index in range(200):
        bag.add("/image", image(index + 1, rgb_picture(index), "rgb8"))
    read: list[int] = []
    stamp_of = bag_reader._stamp_ns
    monkeypatch.setattr(bag_reader, "_stamp_ns", lambda *message: read.append(1) or stamp_of(*message))
    for given, frame in enumerate(open_recording(bag.write(tmp_path / "bag")), start=1):
        assert frame.stamp_ns == given
        # The depth message, those given, and those that wait.
        assert len(read) <= 1 + given + 41
    assert given == 200


def test_depth_maps_without_a_picture_push_no_newer_one_out(tmp_path: Path) -> None:
    bag = Bag()
    for stamp in range(1, 201):
        bag.add("/sensor_depth", image(stamp, depth_picture(stamp), "16UC1"))
        if stamp % 3 == 0:
            bag.add("/image", image(stamp, rgb_picture(stamp), "rgb8"))
    frames = list(open_recording(bag.write(tmp_path / "bag")))
    assert [frame.stamp_ns for frame in frames] == list(range(3, 201, 3))
    for frame in frames:
        np.testing.assert_array_equal(frame.depth, depth_picture(frame.stamp_ns))


def test_topics_can_be_named(tmp_path: Path) -> None:
    bag = Bag()
    for name in ("left", "right"):
        bag.add(f"/{name}/image", image(9, rgb_picture(len(name)), "rgb8"))
    bag.add("/info", camera_info(9, fx=700)).add("/range", image(9, depth_picture(1).astype(np.float32), "32FC1"))
    topics = BagTopics(image="/right/image", camera_info="/info", depth="/range")
    (frame,) = open_recording(bag.write(tmp_path / "bag"), topics)
    np.testing.assert_array_equal(frame.rgb, rgb_picture(len("right")))
    assert frame.camera.intrinsics[0, 0] == 700
    assert frame.depth.dtype == np.float32


@pytest.mark.parametrize(
    ("picture", "depth"),
    [("/image", "/sensor_depth"), ("/camera/color/image_raw", "/camera/aligned_depth_to_color/image_raw")],
)
def test_a_bag_of_our_own_needs_no_topics_to_be_named(tmp_path: Path, picture: str, depth: str) -> None:
    bag = Bag().add(picture, image(9, rgb_picture(0), "rgb8")).add(depth, image(9, depth_picture(0), "16UC1"))
    for drawn in ("/overlay", "/thoughts"):
        bag.add(drawn, image(9, rgb_picture(1), "rgb8"))
    bag.add("/depth", image(9, depth_picture(1), "16UC1"))
    (frame,) = open_recording(bag.write(tmp_path / "bag"))
    np.testing.assert_array_equal(frame.rgb, rgb_picture(0))
    np.testing.assert_array_equal(frame.depth, depth_picture(0))


def test_several_pictures_must_be_chosen_from_by_name(tmp_path: Path) -> None:
    bag = Bag().add("/right", image(9, rgb_picture(0), "rgb8")).add("/left", compressed(9, rgb_picture(1)))
    bag.add("/depth", image(9, depth_picture(0), "16UC1"))
    with pytest.raises(InputError, match="it has several: /left, /right$"):
        open_recording(bag.write(tmp_path / "bag"))


@pytest.mark.parametrize(
    "topics", [BagTopics(image="/x"), BagTopics(camera_info="/camera/image"), BagTopics(depth="/camera/camera_info")]
)
def test_a_topic_that_is_not_in_the_bag_or_of_another_type_is_named(tmp_path: Path, topics: BagTopics) -> None:
    with pytest.raises(InputError, match="expected a topic /.* of type .*; it has: /camera/"):
        open_recording(rgbd_bag().write(tmp_path / "bag"), topics)


def test_a_bag_without_pictures_is_an_error(tmp_path: Path) -> None:
    bag = Bag().add("/camera_info", camera_info(1)).write(tmp_path / "bag")
    with pytest.raises(InputError, match="expected a topic of colour pictures"):
        open_recording(bag)


def test_an_uncalibrated_camera_has_no_calibration(tmp_path: Path) -> None:
    bag = Bag().add("/image", image(1, rgb_picture(0), "rgb8")).add("/camera_info", camera_info(1, fx=0.0))
    assert next(open_recording(bag.write(tmp_path / "bag"))).camera is None


def test_a_header_without_a_stamp_takes_the_time_of_recording(tmp_path: Path) -> None:
    bag = Bag().add("/image", image(0, rgb_picture(0), "rgb8")).write(tmp_path / "bag")
    assert next(open_recording(bag)).stamp_ns == 10**9


def broken_bag() -> Bag:
    bad_jpeg = compressed(2, rgb_picture(1), "jpg")
    bad_jpeg.data = bad_jpeg.data[:10]
    return Bag().add("/c", compressed(1, rgb_picture(0))).add("/c", bad_jpeg).add("/c", compressed(3, rgb_picture(2)))


def test_a_picture_that_cannot_be_decoded_is_an_error_with_topic_and_stamp(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="topic /c, stamp 2: image: expected a jpeg or png"):
        list(open_recording(broken_bag().write(tmp_path / "bag")))


def test_a_picture_that_cannot_be_decoded_can_be_left_out_and_reported(tmp_path: Path) -> None:
    problems: list[str] = []
    frames = open_recording(broken_bag().write(tmp_path / "bag"), on_bad_frame=problems.append)
    assert [frame.stamp_ns for frame in frames] == [1, 3]
    assert len(problems) == 1 and "stamp 2" in problems[0]


@STORAGES
@pytest.mark.parametrize("kept", [0.0, 0.4, 0.95])
def test_a_truncated_bag_is_an_error_that_names_it(tmp_path: Path, storage: StoragePlugin, kept: float) -> None:
    bag = Bag()
    for index in range(30):
        bag.add("/image", image(index + 1, np.tile(rgb_picture(index), (10, 10, 1)), "rgb8"))
    folder = bag.write(tmp_path / "bag", storage)
    (file,) = (path for path in folder.iterdir() if path.name != "metadata.yaml")
    content = file.read_bytes()
    file.write_bytes(content[: int(len(content) * kept)])
    with pytest.raises(InputError, match=f"bag {folder}"):
        list(open_recording(folder))


def test_a_bag_whose_metadata_is_nonsense_is_an_error_that_names_it(tmp_path: Path) -> None:
    folder = rgbd_bag().write(tmp_path / "bag")
    (folder / "metadata.yaml").write_text("not: [a, bag")
    with pytest.raises(InputError, match=f"bag {folder}"):
        open_recording(folder)
