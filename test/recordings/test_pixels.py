from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stvla_ros.errors import InputError
from stvla_ros.recordings.pixels import convert_pixels, decode_picture, message_to_rgb, pixel_layout, unpack_pixels

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


def raw(picture: np.ndarray, encoding: str, width: int, height: int, step: int = 0) -> SimpleNamespace:
    data = np.ascontiguousarray(picture).tobytes()
    return SimpleNamespace(
        data=data, encoding=encoding, width=width, height=height, step=step or len(data) // height, is_bigendian=0
    )


SMOOTH = cv2.resize(np.random.default_rng(3).integers(0, 256, (3, 4, 3), np.uint8), (64, 48))


@pytest.mark.parametrize("encoding", ["nv12", "nv21", "i420", "yuv420"])
def test_pictures_in_planes_become_rgb(encoding: str) -> None:
    planes = cv2.cvtColor(SMOOTH, cv2.COLOR_RGB2YUV_I420)
    if encoding.startswith("nv"):
        u, v = planes[48:60].reshape(-1), planes[60:].reshape(-1)
        pair = (u, v) if encoding == "nv12" else (v, u)
        planes = np.vstack([planes[:48], np.stack(pair, axis=1).reshape(24, 64)])
    rgb = message_to_rgb(raw(planes, encoding, 64, 48, step=64))
    # Colours are those of four pixels each.
    assert np.abs(rgb.astype(int) - SMOOTH).mean() < 5


def test_rows_of_nv12_may_be_padded() -> None:
    planes = np.full((72, 80), 128, np.uint8)
    assert message_to_rgb(raw(planes, "nv12", 64, 48, step=80)).shape == (48, 64, 3)


@pytest.mark.parametrize(("encoding", "channels"), [("rgb16", 3), ("bgr16", 3), ("mono16", 1), ("bayer_rggb16", 1)])
def test_16_bits_a_colour_become_8(encoding: str, channels: int) -> None:
    picture = np.full((8, 8, channels), 0x8080, np.uint16)
    assert (message_to_rgb(raw(picture, encoding, 8, 8)) == 0x80).all()


@pytest.mark.parametrize(("encoding", "channels"), [("rgb16", 3), ("mono16", 1), ("bayer_rggb16", 1)])
def test_a_sensor_of_12_bits_in_16_is_told_and_no_black_picture(encoding: str, channels: int) -> None:
    picture = np.full((8, 8, channels), 4080, np.uint16)
    with pytest.raises(
        InputError, match=f"16 bits for {encoding}, its largest value is 4080, as of a sensor of 10 or 12"
    ):
        message_to_rgb(raw(picture, encoding, 8, 8))


@pytest.mark.parametrize("encoding", ["nv24", "16UC1", "32FC1", "rgb9", ""])
def test_what_is_no_colour_picture_is_refused_with_the_list_of_those_that_are(encoding: str) -> None:
    with pytest.raises(InputError, match=f"expected one of mono8, .*bayer_rggb8.*, nv12, .*, got {encoding!r}"):
        message_to_rgb(raw(np.zeros((8, 8), np.uint16), encoding, 8, 8))


@pytest.mark.parametrize("size", [(63, 48), (64, 47), (0, 48)])
def test_planes_of_an_odd_size_are_refused(size: tuple[int, int]) -> None:
    with pytest.raises(InputError, match="expected an even width and height"):
        message_to_rgb(raw(np.zeros((72, 64), np.uint8), "nv12", *size, step=64))


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
