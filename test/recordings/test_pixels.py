import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stvla_ros.errors import InputError
from stvla_ros.recordings.pixels import convert_pixels, decode_picture, pixel_layout, unpack_pixels

ENCODINGS = ("mono8", "mono16", "rgb8", "bgra8", "yuv422", "bayer_rggb8", "16UC1", "32FC1", "64FC2", "8U")


@given(
    encoding=st.sampled_from(ENCODINGS),
    width=st.integers(1, 8),
    height=st.integers(1, 8),
    padding=st.integers(0, 9),
    is_bigendian=st.booleans(),
    data=st.data(),
)
def test_unpacking_gives_back_what_was_packed_whatever_padding_and_byte_order(
    encoding: str, width: int, height: int, padding: int, is_bigendian: bool, data: st.DataObject
) -> None:
    dtype, channels = pixel_layout(encoding)
    seed = data.draw(st.integers(0, 2**31))
    picture = np.random.default_rng(seed).integers(0, 100, (height, width, channels)).astype(dtype)
    ordered = picture.astype(dtype.newbyteorder(">" if is_bigendian else "<"))
    rows = np.frombuffer(ordered.tobytes(), np.uint8).reshape(height, -1)
    packed = np.pad(rows, ((0, 0), (0, padding)), constant_values=255)
    back = unpack_pixels(
        packed.tobytes(),
        encoding=encoding,
        width=width,
        height=height,
        step=packed.shape[1],
        is_bigendian=is_bigendian,
    )
    assert back.dtype == dtype
    np.testing.assert_array_equal(back.reshape(picture.shape), picture)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"width": 0}, "0x2 pixels"),
        ({"height": 0}, "2x0 pixels"),
        ({"step": 5}, "at least 6 bytes"),
        ({"data": bytes(11)}, "2 rows of 6 bytes, got 11"),
        ({"encoding": "rgb9"}, "rgb9"),
    ],
)
def test_malformed_fields_are_refused(change: dict, expected: str) -> None:
    fields = {"data": bytes(12), "encoding": "rgb8", "width": 2, "height": 2, "step": 6, "is_bigendian": False} | change
    with pytest.raises(InputError, match=expected):
        unpack_pixels(fields.pop("data"), **fields)


@pytest.mark.parametrize(
    ("encoding", "code"),
    [
        ("yuv422", cv2.COLOR_YUV2RGB_UYVY),
        ("uyvy", cv2.COLOR_YUV2RGB_UYVY),
        ("yuv422_yuy2", cv2.COLOR_YUV2RGB_YUY2),
        ("yuyv", cv2.COLOR_YUV2RGB_YUY2),
        ("bayer_rggb8", cv2.COLOR_BayerBG2RGB),
        ("bayer_bggr8", cv2.COLOR_BayerRG2RGB),
        ("bayer_gbrg8", cv2.COLOR_BayerGR2RGB),
        ("bayer_grbg8", cv2.COLOR_BayerGB2RGB),
    ],
)
def test_camera_encodings_become_rgb(encoding: str, code: int) -> None:
    channels = pixel_layout(encoding)[1]
    picture = np.random.default_rng(0).integers(0, 256, (8, 8, channels), np.uint8)
    picture = picture[..., 0] if channels == 1 else picture
    np.testing.assert_array_equal(convert_pixels(picture, encoding, "rgb8"), cv2.cvtColor(picture, code))


def test_a_red_bayer_mosaic_becomes_red() -> None:
    # rggb: the red element is the first of the first row.
    mosaic = np.zeros((8, 8), np.uint8)
    mosaic[::2, ::2] = 200
    centre = convert_pixels(mosaic, "bayer_rggb8", "rgb8")[4, 4]
    assert centre[0] == 200 and centre[1] == 0 and centre[2] == 0


@pytest.mark.parametrize(("source", "target"), [("32FC1", "rgb8"), ("rgb8", "8UC1"), ("rgb8", "bayer_rggb8")])
def test_conversions_without_meaning_are_refused(source: str, target: str) -> None:
    dtype, channels = pixel_layout(source)
    with pytest.raises(InputError, match=rf"\[{source}\]"):
        convert_pixels(np.zeros((2, 2, channels), dtype).squeeze(), source, target)


def _png() -> bytes:
    return cv2.imencode(".png", np.random.default_rng(0).integers(0, 256, (12, 16, 3), np.uint8))[1].tobytes()


@pytest.mark.parametrize("missing", [1, 12, 13, 400])
def test_a_png_whose_end_is_missing_is_no_picture(missing: int) -> None:
    assert decode_picture(_png()) is not None
    assert decode_picture(_png()[:-missing]) is None
