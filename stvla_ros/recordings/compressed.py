"""Pictures and depth in sensor_msgs/CompressedImage, as written by the ROS packages compressed_image_transport and
compressed_depth_image_transport (repository image_transport_plugins).

``format`` describes the content: ``rgb8; jpeg compressed bgr8``, ``16UC1; png compressed``, ``16UC1; compressedDepth
png``, ``32FC1; compressedDepth rvl``; many drivers write only ``jpeg`` or ``png``, or nothing: then the bytes tell.
"""

import re
import struct
from typing import Any

import cv2
import numpy as np

from stvla_ros.errors import InputError
from stvla_ros.recordings.pixels import (
    DEPTH_ENCODINGS,
    PNG,
    convert_pixels,
    decode_picture,
    is_depth_png,
    picture_size,
)
from stvla_ros.safe_files import check_limit

# Header before the picture in compressedDepth: a number without meaning, and the quantization of inverse depth.
_DEPTH_HEAD = struct.Struct("<iff")
_RVL_HEAD = struct.Struct("<II")
_BAYER = re.compile("bayer_[rgb]{4}8")
# Least number of bits of a run of pixels; this limits the number of pixels that can come out.
_MOST_PIXELS_A_BYTE = 1 << 12


def holds_depth(form: str, data: bytes | np.ndarray = b"") -> bool:
    """Whether a ``format`` is that of depth or, if it does not tell, the bytes are."""
    octets = np.frombuffer(data, np.uint8)
    said = form.partition(";")[0].strip() in DEPTH_ENCODINGS
    return said or _is_compressed_depth(form, octets) or is_depth_png(octets)


def _is_compressed_depth(form: str, octets: np.ndarray) -> bool:
    return "compressedDepth" in form or octets[_DEPTH_HEAD.size :][: len(PNG)].tobytes() == PNG


def decode_colour(message: Any) -> np.ndarray:
    """
    :param message: sensor_msgs/CompressedImage, of rclpy or of a recording.
    :returns: (H, W, 3) uint8 rgb.
    :raises InputError: for depth, and for anything but a complete jpeg or png.
    """
    form = message.format
    if holds_depth(form, message.data):
        raise InputError(f"image: expected a colour picture, got depth ({form!r})")
    pattern = _BAYER.match(form)
    raw = pattern is not None and "bgr8" not in form and "rgb8" not in form.partition(";")[2]
    picture = decode_picture(message.data, cv2.IMREAD_GRAYSCALE if raw else cv2.IMREAD_COLOR)
    if picture is None:
        raise InputError(f"image: expected a jpeg or png, got {len(message.data)} bytes of {form!r}")
    if raw:
        return convert_pixels(picture, pattern[0], "rgb8")
    return cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)


def decode_depth(message: Any) -> np.ndarray:
    """
    :param message: sensor_msgs/CompressedImage, of rclpy or of a recording.
    :returns: (H, W) uint16 millimetres or float32 metres, NaN where unknown.
    :raises InputError: for anything but a complete png of 16 bits or compressedDepth (png or rvl).
    """
    form = message.format
    data = np.frombuffer(message.data, np.uint8)
    encoding, _, how = (part.strip() for part in form.partition(";"))
    if not _is_compressed_depth(form, data):
        return _png(data, form)
    if len(data) <= _DEPTH_HEAD.size:
        raise InputError(f"image: expected compressedDepth, got {len(data)} bytes")
    _, scale, offset = _DEPTH_HEAD.unpack_from(data.data)
    inside = data[_DEPTH_HEAD.size :]
    words = how.split()
    codec = words[1] if len(words) > 1 else "png"
    if "compressedDepth" not in form and encoding not in DEPTH_ENCODINGS:
        encoding = "32FC1" if scale else "16UC1"  # only inverse depth is quantized
    if encoding not in DEPTH_ENCODINGS or codec not in ("png", "rvl"):
        raise InputError(f"image: expected 16UC1 or 32FC1 as compressedDepth png or rvl, got {form!r}")
    numbers = _rvl(inside) if codec == "rvl" else _png(inside, form)
    if encoding != "32FC1":
        return numbers
    with np.errstate(divide="ignore", invalid="ignore"):
        distance = np.float32(scale) / (numbers.astype(np.float32) - np.float32(offset))
    return np.where(numbers > 0, distance, np.float32(np.nan))


def size_of(message: Any) -> tuple[int, int]:
    """(width, height) of a sensor_msgs/Image or CompressedImage by its header; zeros if that does not tell."""
    if hasattr(message, "width"):
        return message.width, message.height
    return picture_size(np.frombuffer(message.data, np.uint8)) or (0, 0)


def _png(data: np.ndarray, form: str) -> np.ndarray:
    picture = decode_picture(data, cv2.IMREAD_UNCHANGED)
    if picture is None or picture.dtype != np.uint16 or picture.ndim != 2:
        got = f"{len(data)} bytes" if picture is None else f"{picture.dtype} of shape {picture.shape}"
        raise InputError(f"image: expected depth as a png of 16 bits, got {got} of {form!r}")
    return picture


def _rvl(data: np.ndarray) -> np.ndarray:
    """Run lengths and differences of neighbours in groups of 3 bits (A. D. Wilson, Fast Lossless Depth Image
    Compression, ISS 2017).
    """
    if len(data) < _RVL_HEAD.size:
        raise InputError(f"image: expected rvl, got {len(data)} bytes")
    width, height = _RVL_HEAD.unpack_from(data.data)
    count = width * height
    check_limit("picture_pixels", count, f"image of {width}x{height}", "pixels")
    if not count or count > len(data) * _MOST_PIXELS_A_BYTE:
        raise InputError(f"image: expected the rvl of {width}x{height} pixels, got {len(data)} bytes")
    numbers = _rvl_numbers(data[_RVL_HEAD.size :])
    steps = np.zeros(count, np.int64)
    known = np.zeros(count, bool)
    place = at = 0
    while at < count:
        if place + 1 >= len(numbers) and not (place < len(numbers) and at + int(numbers[place]) == count):
            raise InputError(f"image: expected the rvl of {width}x{height} pixels, its end is missing")
        at += int(numbers[place])
        if at == count:
            break
        run = int(numbers[place + 1])
        place += 2
        if at + run > count or place + run > len(numbers):
            raise InputError(f"image: expected the rvl of {width}x{height} pixels, got runs of more")
        steps[at : at + run] = numbers[place : place + run]
        known[at : at + run] = True
        place, at = place + run, at + run
    steps = (steps >> 1) ^ -(steps & 1)
    # Pixels without distance lie between; the differences continue after them.
    return np.where(known, np.cumsum(steps), 0).astype(np.uint16).reshape(height, width)


def _rvl_numbers(data: np.ndarray) -> np.ndarray:
    """(n,) int64 numbers from groups of 4 bits, the highest group of each word of 32 bits first. The first bit of a
    group tells that another group follows; lower groups come first.
    """
    words = np.frombuffer(data[: len(data) // 4 * 4].tobytes(), "<u4")
    groups = ((words[:, None] >> np.arange(28, -1, -4, dtype=np.uint32)) & 15).reshape(-1).astype(np.int64)
    ends = np.flatnonzero(groups < 8)
    if not len(ends):
        return np.zeros(0, np.int64)
    groups = groups[: ends[-1] + 1]
    starts = np.concatenate([[0], ends[:-1] + 1])
    within = np.arange(len(groups)) - np.repeat(starts, ends - starts + 1)
    # More than 32 bits are no number of this code.
    return np.add.reduceat((groups & 7) << np.minimum(3 * within, 33), starts)
