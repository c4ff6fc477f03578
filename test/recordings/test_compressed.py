"""Pictures and depth in CompressedImage: what is decoded, and what is refused with which line."""

import struct
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from stvla_ros.errors import InputError
from stvla_ros.recordings.compressed import decode_colour, decode_depth, holds_depth, size_of

RGB = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)
MILLIMETRES = np.random.default_rng(1).integers(0, 5000, (6, 8), np.uint16)


def message(form: str, data: bytes) -> SimpleNamespace:
    return SimpleNamespace(format=form, data=data)


def file_of(picture: np.ndarray, kind: str = "png") -> bytes:
    return cv2.imencode(f".{kind}", picture)[1].tobytes()


def head(scale: float = 0.0, offset: float = 0.0) -> bytes:
    return struct.pack("<iff", 0, scale, offset)


def rvl(numbers: np.ndarray) -> bytes:
    """As image_transport_plugins' RvlCodec packs: by its published description, group by group."""
    groups: list[int] = []

    def put(value: int) -> None:
        while True:
            part, value = value & 7, value >> 3
            groups.append(part | (8 if value else 0))
            if not value:
                return

    flat, place, previous = numbers.reshape(-1).tolist(), 0, 0
    while place < len(flat):
        begin = place
        while place < len(flat) and flat[place] == 0:
            place += 1
        put(place - begin)
        begin = place
        while place < len(flat) and flat[place] != 0:
            place += 1
        put(place - begin)
        for value in flat[begin:place]:
            step, previous = value - previous, value
            put((step << 1) ^ (step >> 31))
    groups += [0] * (-len(groups) % 8)
    words = [sum(group << (28 - 4 * i) for i, group in enumerate(groups[w : w + 8])) for w in range(0, len(groups), 8)]
    return struct.pack("<II", numbers.shape[1], numbers.shape[0]) + struct.pack(f"<{len(words)}I", *words)


@pytest.mark.parametrize("form", ["rgb8; png compressed bgr8", "bgr8; png compressed", "png", ""])
def test_colour_is_rgb_whatever_the_format_is_called(form: str) -> None:
    np.testing.assert_array_equal(decode_colour(message(form, file_of(RGB[..., ::-1]))), RGB)


def test_grey_pictures_become_rgb() -> None:
    grey = decode_colour(message("mono8; png compressed", file_of(RGB[..., 0])))
    np.testing.assert_array_equal(grey, np.dstack([RGB[..., 0]] * 3))


def test_a_bayer_picture_that_was_not_developed_before_is_developed() -> None:
    raw = RGB[..., 0]
    expected = cv2.cvtColor(raw, cv2.COLOR_BayerBG2RGB)
    np.testing.assert_array_equal(decode_colour(message("bayer_rggb8; png compressed ", file_of(raw))), expected)
    developed = decode_colour(message("bayer_rggb8; jpeg compressed bgr8", file_of(RGB, "jpg")))
    assert developed.shape == RGB.shape


@pytest.mark.parametrize("form", ["16UC1; compressedDepth", "16UC1; compressedDepth png", "16UC1; compressedDepth "])
def test_compressed_depth_in_millimetres_is_exact(form: str) -> None:
    depth = decode_depth(message(form, head() + file_of(MILLIMETRES)))
    np.testing.assert_array_equal(depth, MILLIMETRES)
    assert depth.dtype == np.uint16


@pytest.mark.parametrize("form", ["16UC1; png compressed ", "mono16; png compressed", "png"])
def test_a_png_of_16_bits_is_depth(form: str) -> None:
    np.testing.assert_array_equal(decode_depth(message(form, file_of(MILLIMETRES))), MILLIMETRES)


@pytest.mark.parametrize("form", ["png", "", "compressed"])
def test_depth_is_known_by_its_bytes_where_the_format_does_not_tell(form: str) -> None:
    for data in (file_of(MILLIMETRES), head() + file_of(MILLIMETRES)):
        assert holds_depth(form, data)
        np.testing.assert_array_equal(decode_depth(message(form, data)), MILLIMETRES)
        with pytest.raises(InputError, match="expected a colour picture, got depth"):
            decode_colour(message(form, data))
    assert not holds_depth(form, file_of(RGB)) and not holds_depth(form, file_of(RGB[..., 0]))


@pytest.mark.parametrize("codec", ["png", "rvl"])
def test_compressed_depth_in_metres_is_inverse_depth(codec: str) -> None:
    scale, offset = np.float32(100.0 * 101.0), np.float32(1.0 - 100.0 * 101.0 / 10.0)
    metres = np.linspace(0.3, 9.0, 48, dtype=np.float32).reshape(6, 8)
    numbers = (scale / metres + offset).astype(np.uint16)
    numbers[0, 0] = 0
    data = head(scale, offset) + (file_of(numbers) if codec == "png" else rvl(numbers))
    depth = decode_depth(message(f"32FC1; compressedDepth {codec}", data))
    assert depth.dtype == np.float32 and np.isnan(depth[0, 0])
    np.testing.assert_allclose(depth.reshape(-1)[1:], metres.reshape(-1)[1:], rtol=1e-2)


@given(
    hnp.arrays(
        np.uint16, st.tuples(st.integers(1, 7), st.integers(1, 9)), elements=st.sampled_from([0, 0, 1, 900, 901, 65535])
    )
)
@examples(quick=200)
def test_rvl_gives_what_was_packed(numbers: np.ndarray) -> None:
    np.testing.assert_array_equal(decode_depth(message("16UC1; compressedDepth rvl", head() + rvl(numbers))), numbers)


def test_an_empty_map_of_rvl_is_a_map_of_zeros() -> None:
    zeros = np.zeros((48, 64), np.uint16)
    np.testing.assert_array_equal(decode_depth(message("16UC1; compressedDepth rvl", head() + rvl(zeros))), zeros)


@pytest.mark.parametrize(
    "form, data, text",
    [
        ("16UC1; compressedDepth", b"short", "expected compressedDepth, got 5 bytes"),
        ("16UC1; compressedDepth png", head() + b"none", "expected depth as a png of 16 bits, got 4 bytes"),
        ("16UC1; compressedDepth rvl", head() + b"none", "expected rvl, got 4 bytes"),
        ("16UC1; compressedDepth rvl", head() + rvl(MILLIMETRES)[:-8], "its end is missing|got runs of more"),
        ("16UC1; compressedDepth rvl", head() + struct.pack("<II", 1 << 16, 1 << 16), "pixels"),
        ("rgb8; compressedDepth png", head() + file_of(MILLIMETRES), "expected 16UC1 or 32FC1 as compressedDepth"),
        ("16UC1; compressedDepth zip", head() + file_of(MILLIMETRES), "as compressedDepth png or rvl"),
        ("rgb8; jpeg compressed bgr8", file_of(RGB, "jpg"), "expected depth as a png of 16 bits, got uint8"),
    ],
)
def test_what_is_no_depth_is_told(form: str, data: bytes, text: str) -> None:
    with pytest.raises(InputError, match=text):
        decode_depth(message(form, data))


@pytest.mark.parametrize("form", ["16UC1; png compressed ", "16UC1; compressedDepth", "mono16; png compressed"])
def test_depth_is_no_colour_picture(form: str) -> None:
    assert holds_depth(form)
    with pytest.raises(InputError, match="expected a colour picture, got depth"):
        decode_colour(message(form, file_of(MILLIMETRES)))


@given(st.binary(max_size=200), st.sampled_from(["16UC1; compressedDepth rvl", "32FC1; compressedDepth png", "jpeg"]))
@examples(quick=200)
def test_whatever_bytes_come_they_are_decoded_or_refused(data: bytes, form: str) -> None:
    for decode in (decode_depth, decode_colour):
        try:
            decode(message(form, data))
        except InputError:
            pass


def test_the_size_of_a_message() -> None:
    assert size_of(message("png", file_of(RGB))) == (8, 6)
    assert size_of(message("png", b"")) == (0, 0)
    assert size_of(SimpleNamespace(width=4, height=3)) == (4, 3)
