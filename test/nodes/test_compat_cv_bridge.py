"""What this package relies on in cv_bridge. Passes against the fallback and the distribution's package."""

from array import array

import cv2
import numpy as np
import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from stvla_ros.nodes.kit.compat import cv_bridge

BRIDGE = cv_bridge.CvBridge()
LAYOUTS = {
    "rgb8": (np.uint8, 3),
    "bgr8": (np.uint8, 3),
    "rgba8": (np.uint8, 4),
    "bgra8": (np.uint8, 4),
    "mono8": (np.uint8, 1),
    "mono16": (np.uint16, 1),
    "16UC1": (np.uint16, 1),
    "32FC1": (np.float32, 1),
}


def picture(encoding: str, height: int = 5, width: int = 7, seed: int = 0) -> np.ndarray:
    dtype, channels = LAYOUTS[encoding]
    values = np.random.default_rng(seed).integers(0, 256, (height, width, channels)).astype(dtype)
    return values[..., 0] if channels == 1 else values


@pytest.mark.parametrize("encoding", LAYOUTS)
@given(height=st.integers(1, 9), width=st.integers(1, 9), seed=st.integers(0, 2**31))
@examples(quick=20)
def test_a_picture_survives_the_way_to_a_message_and_back(encoding: str, height: int, width: int, seed: int) -> None:
    original = picture(encoding, height, width, seed)
    message = BRIDGE.cv2_to_imgmsg(original, encoding=encoding)
    assert (message.height, message.width, message.encoding) == (height, width, encoding)
    assert message.step == width * original.itemsize * LAYOUTS[encoding][1]
    assert len(message.data) == message.step * height
    back = BRIDGE.imgmsg_to_cv2(message)
    assert back.dtype == original.dtype
    np.testing.assert_array_equal(back, original)


def test_the_outgoing_data_is_an_array_which_rclpy_takes_without_checking_each_byte() -> None:
    data = BRIDGE.cv2_to_imgmsg(picture("rgb8"), encoding="rgb8").data
    assert isinstance(data, array) and data.typecode == "B"


def test_the_header_is_taken_over() -> None:
    header = Header(frame_id="camera")
    header.stamp.sec = 12
    assert BRIDGE.cv2_to_imgmsg(picture("rgb8"), encoding="rgb8", header=header).header == header


def test_passthrough_names_the_opencv_type() -> None:
    assert BRIDGE.cv2_to_imgmsg(picture("rgb8")).encoding == "8UC3"
    assert BRIDGE.cv2_to_imgmsg(picture("32FC1")).encoding == "32FC1"


def test_a_part_of_a_picture_that_is_not_contiguous_is_sent_whole() -> None:
    part = picture("rgb8", 8, 8)[1:6:2, 2:7]
    np.testing.assert_array_equal(BRIDGE.imgmsg_to_cv2(BRIDGE.cv2_to_imgmsg(part, encoding="rgb8")), part)


@pytest.mark.parametrize("encoding", LAYOUTS)
def test_row_padding_is_removed(encoding: str) -> None:
    original = picture(encoding)
    message = BRIDGE.cv2_to_imgmsg(original, encoding=encoding)
    row = message.step
    pixel = row // message.width
    rows = np.frombuffer(message.data, np.uint8).reshape(message.height, row)
    padded = np.pad(rows, ((0, 0), (0, 2 * pixel)), constant_values=77)
    message.step = row + 2 * pixel
    message.data = array("B", padded.tobytes())
    np.testing.assert_array_equal(BRIDGE.imgmsg_to_cv2(message), original)


def test_rgb_and_bgr_become_each_other() -> None:
    original = picture("rgb8")
    message = BRIDGE.cv2_to_imgmsg(original, encoding="rgb8")
    np.testing.assert_array_equal(BRIDGE.imgmsg_to_cv2(message, desired_encoding="bgr8"), original[..., ::-1])


@pytest.mark.parametrize("source", ["rgb8", "bgr8", "rgba8", "bgra8", "mono8"])
@pytest.mark.parametrize("target", ["rgb8", "bgr8", "rgba8", "bgra8", "mono8"])
def test_colours_are_converted_as_opencv_does(source: str, target: str) -> None:
    original = picture(source)
    converted = BRIDGE.imgmsg_to_cv2(BRIDGE.cv2_to_imgmsg(original, encoding=source), desired_encoding=target)
    names = [name[:-1].upper().replace("MONO", "GRAY") for name in (source, target)]
    expected = original if source == target else cv2.cvtColor(original, getattr(cv2, f"COLOR_{names[0]}2{names[1]}"))
    np.testing.assert_array_equal(converted, expected)


@pytest.mark.parametrize(
    ("encoding", "code"),
    [
        ("yuv422", cv2.COLOR_YUV2RGB_UYVY),
        ("yuv422_yuy2", cv2.COLOR_YUV2RGB_YUY2),
        ("bayer_rggb8", cv2.COLOR_BayerBG2RGB),
        ("bayer_bggr8", cv2.COLOR_BayerRG2RGB),
        ("bayer_gbrg8", cv2.COLOR_BayerGR2RGB),
        ("bayer_grbg8", cv2.COLOR_BayerGB2RGB),
    ],
)
def test_what_cameras_send_becomes_rgb(encoding: str, code: int) -> None:
    shape = (8, 6, 2) if encoding.startswith("yuv") else (8, 6)
    original = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    message = BRIDGE.cv2_to_imgmsg(original, encoding=encoding)
    np.testing.assert_array_equal(BRIDGE.imgmsg_to_cv2(message, desired_encoding="rgb8"), cv2.cvtColor(original, code))


def test_sixteen_bit_grey_is_scaled_to_eight_bits() -> None:
    original = np.array([[0, 257 * 100, 65535]], np.uint16)
    message = BRIDGE.cv2_to_imgmsg(original, encoding="mono16")
    np.testing.assert_array_equal(BRIDGE.imgmsg_to_cv2(message, desired_encoding="mono8"), [[0, 100, 255]])
    np.testing.assert_array_equal(
        BRIDGE.imgmsg_to_cv2(message, desired_encoding="rgb8"), [[[0] * 3, [100] * 3, [255] * 3]]
    )


def test_depth_in_millimetres_is_cast_and_never_scaled_to_float() -> None:
    message = BRIDGE.cv2_to_imgmsg(np.array([[0, 1234, 65535]], np.uint16), encoding="16UC1")
    depth = BRIDGE.imgmsg_to_cv2(message, desired_encoding="32FC1")
    assert depth.dtype == np.float32
    np.testing.assert_array_equal(depth, [[0, 1234, 65535]])


def test_float_depth_is_rounded_and_saturated_to_sixteen_bits_and_nan_becomes_zero() -> None:
    message = BRIDGE.cv2_to_imgmsg(np.array([[-3, 1.4, 2.6, 1e6, np.nan]], np.float32), encoding="32FC1")
    np.testing.assert_array_equal(BRIDGE.imgmsg_to_cv2(message, desired_encoding="16UC1"), [[0, 1, 3, 65535, 0]])


@pytest.mark.parametrize("depth", ["16UC1", "32FC1"])
@pytest.mark.parametrize("colour", ["mono8", "mono16", "rgb8", "bgra8"])
def test_depth_does_not_become_a_colour(depth: str, colour: str) -> None:
    message = BRIDGE.cv2_to_imgmsg(picture(depth), encoding=depth)
    with pytest.raises(cv_bridge.CvBridgeError, match="not a color format"):
        BRIDGE.imgmsg_to_cv2(message, desired_encoding=colour)


def test_a_colour_does_not_become_another_number_of_channels_without_meaning() -> None:
    message = BRIDGE.cv2_to_imgmsg(picture("rgb8"), encoding="rgb8")
    with pytest.raises(cv_bridge.CvBridgeError):
        BRIDGE.imgmsg_to_cv2(message, desired_encoding="8UC1")
    np.testing.assert_array_equal(BRIDGE.imgmsg_to_cv2(message, desired_encoding="8UC3"), picture("rgb8"))


def test_an_unknown_encoding_is_an_error() -> None:
    with pytest.raises(cv_bridge.CvBridgeError, match="nonsense"):
        BRIDGE.imgmsg_to_cv2(Image(height=1, width=1, step=1, encoding="nonsense", data=array("B", [0])))
    with pytest.raises(cv_bridge.CvBridgeError, match="nonsense"):
        BRIDGE.cv2_to_imgmsg(picture("rgb8"), encoding="nonsense")
    with pytest.raises(cv_bridge.CvBridgeError, match="nonsense"):
        BRIDGE.imgmsg_to_cv2(BRIDGE.cv2_to_imgmsg(picture("rgb8"), encoding="rgb8"), desired_encoding="nonsense")


def test_an_array_of_another_type_than_its_encoding_is_an_error() -> None:
    with pytest.raises(cv_bridge.CvBridgeError, match="incompatible type 32FC1"):
        BRIDGE.cv2_to_imgmsg(picture("32FC1"), encoding="16UC1")


def test_a_truncated_message_is_a_type_error() -> None:
    # The base class of CvBridgeError: the distribution's package lets NumPy's own error through.
    message = BRIDGE.cv2_to_imgmsg(picture("rgb8"), encoding="rgb8")
    message.data = message.data[:-1]
    with pytest.raises(TypeError):
        BRIDGE.imgmsg_to_cv2(message)


def test_what_is_no_array_is_a_type_error() -> None:
    with pytest.raises(TypeError):
        BRIDGE.cv2_to_imgmsg([[1, 2], [3, 4]], encoding="mono8")
