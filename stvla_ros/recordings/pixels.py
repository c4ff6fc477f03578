"""Pictures as bytes: converts the encodings of sensor_msgs/Image to arrays, and from one colour space to another.

Names and conversions are those of sensor_msgs/image_encodings.hpp and cv_bridge (ROS packages common_interfaces,
vision_opencv).
"""

import re
import struct
from typing import Any

import cv2
import numpy as np

from stvla_ros.errors import InputError
from stvla_ros.safe_files import check_limit

_DTYPES: dict[str, np.dtype] = {
    "8U": np.dtype(np.uint8),
    "8S": np.dtype(np.int8),
    "16U": np.dtype(np.uint16),
    "16S": np.dtype(np.int16),
    "32S": np.dtype(np.int32),
    "32F": np.dtype(np.float32),
    "64F": np.dtype(np.float64),
}
# The first bytes of a png, and the bytes before and behind the content of each chunk (PNG specification, 5.2 and 5.3).
PNG = b"\x89PNG\r\n\x1a\n"
_CHUNK_HEAD, _CHUNK_CHECK_BYTES = struct.Struct(">I4s"), 4
# Where its header has the bits of a sample and the kind of colour, and what they are for 16 bits of grey (11.2.2).
_PNG_SAMPLES, _GREY_16 = slice(24, 26), b"\x10\x00"
# The first bytes of a jpeg, and the markers of segments that hold its size (ITU-T T.81, B.1.1.3).
_JPEG, _MOST_SCANS = b"\xff\xd8", 100
_JPEG_SIZES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_CV_NAMES = {dtype.name: name for name, dtype in _DTYPES.items()}
_GENERIC = re.compile("(8U|8S|16U|16S|32S|32F|64F)(?:C([1-9][0-9]{0,2}))?")

DEPTH_ENCODINGS = ("16UC1", "mono16", "32FC1")
# Encodings that say what the channels mean: (OpenCV's type, channels, its name in OpenCV's conversion codes). OpenCV
# names a Bayer pattern after its second row and column, ROS after its first.
_COLOURS = {
    "mono8": ("8U", 1, "GRAY"),
    "mono16": ("16U", 1, "GRAY"),
    "rgb8": ("8U", 3, "RGB"),
    "bgr8": ("8U", 3, "BGR"),
    "rgba8": ("8U", 4, "RGBA"),
    "bgra8": ("8U", 4, "BGRA"),
    "bayer_rggb8": ("8U", 1, "BayerBG"),
    "bayer_bggr8": ("8U", 1, "BayerRG"),
    "bayer_gbrg8": ("8U", 1, "BayerGR"),
    "bayer_grbg8": ("8U", 1, "BayerGB"),
    "rgb16": ("16U", 3, "RGB"),
    "bgr16": ("16U", 3, "BGR"),
    "rgba16": ("16U", 4, "RGBA"),
    "bgra16": ("16U", 4, "BGRA"),
    "bayer_rggb16": ("16U", 1, "BayerBG"),
    "bayer_bggr16": ("16U", 1, "BayerRG"),
    "bayer_gbrg16": ("16U", 1, "BayerGR"),
    "bayer_grbg16": ("16U", 1, "BayerGB"),
    "yuv422": ("8U", 2, "YUV_UYVY"),
    "uyvy": ("8U", 2, "YUV_UYVY"),
    "yuv422_yuy2": ("8U", 2, "YUV_YUY2"),
    "yuyv": ("8U", 2, "YUV_YUY2"),
}


# Planar encodings: the brightness of all pixels, then colours of every four. sensor_msgs' names, and OpenCV's
# conversion.
_PLANAR = {"nv12": "NV12", "nv21": "NV21", "i420": "I420", "yuv420": "I420"}
# Pictures without a stated order of colours have OpenCV's.
_UNNAMED = {"8UC3": "bgr8", "8UC4": "bgra8", "8UC1": "mono8", "16UC3": "bgr16"}
# Values of sensors of 12 bits stay below; of 16 bits, these are 6 % of the brightness.
_LEAST_OF_16_BITS = 1 << 12
COLOUR_ENCODINGS = (*_COLOURS, *_PLANAR)


def message_to_rgb(message: Any) -> np.ndarray:
    """
    :param message: sensor_msgs/Image, of rclpy or of a recording.
    :returns: (H, W, 3) uint8; a view of the message if its encoding is already rgb8.
    :raises InputError: for an encoding that is no colour picture (the message lists those that are), a size of zero,
        too little data, or 16 bits of which only the lower ones are used.
    """
    encoding = _UNNAMED.get(message.encoding, message.encoding)
    if encoding in _PLANAR:
        return _planar_to_rgb(message)
    if encoding not in _COLOURS:
        raise InputError(f"image: expected one of {', '.join(COLOUR_ENCODINGS)}, got {message.encoding!r}")
    picture = unpack_message(message)
    if picture.dtype == np.uint16 and 0 < (largest := int(picture.max())) < _LEAST_OF_16_BITS:
        raise InputError(
            f"image: expected brightness over 16 bits for {message.encoding}, its largest value is {largest}, as of a "
            "sensor of 10 or 12 bits: the picture would be nearly black; have the driver send 8 bits"
        )
    return convert_pixels(picture, encoding, "rgb8")


def _planar_to_rgb(message: Any) -> np.ndarray:
    height, width, step = message.height, message.width, message.step or message.width
    if not width or not height or width % 2 or height % 2 or step < width:
        raise InputError(
            f"image: expected an even width and height and a step of at least the width for {message.encoding}, got "
            f"{width}x{height} pixels, step {step}"
        )
    octets, rows = np.frombuffer(message.data, np.uint8), height * 3 // 2
    if len(octets) < rows * step:
        raise InputError(f"image: expected {rows} rows of {step} bytes, got {len(octets)} bytes")
    if step != width and _PLANAR[message.encoding] == "I420":
        raise InputError(f"image: expected rows of {width} bytes for {message.encoding}, got a step of {step}")
    planes = np.ascontiguousarray(octets[: rows * step].reshape(rows, step)[:, :width])
    return cv2.cvtColor(planes, getattr(cv2, f"COLOR_YUV2RGB_{_PLANAR[message.encoding]}"))


def decode_picture(data: bytes | np.ndarray, flags: int = cv2.IMREAD_COLOR) -> np.ndarray | None:
    """The picture in the bytes of a png or jpeg file, bgr; None if there is none that can be decoded.

    :param flags: OpenCV's flags ``cv2.IMREAD_…``.
    :raises InputError: for a picture that claims to be larger than any real one.
    """
    octets = np.frombuffer(data, np.uint8)
    size = picture_size(octets)
    if size is None:
        return None
    check_limit("picture_pixels", size[0] * size[1], f"image of {size[0]}x{size[1]}", "pixels")
    try:
        return cv2.imdecode(octets, flags) if _holds_its_chunks(octets) else None
    except cv2.error:  # a damaged header can claim a picture of any size
        return None


def is_depth_png(octets: np.ndarray) -> bool:
    """Whether the bytes begin a png of 16 bits of grey. Cameras write depth so, and no pictures for people."""
    return octets[: len(PNG)].tobytes() == PNG and octets[_PNG_SAMPLES].tobytes() == _GREY_16


def picture_size(octets: np.ndarray) -> tuple[int, int] | None:
    """Width and height in the header of a png or jpeg file; None for other bytes. Also None for a jpeg with very many
    scans: each covers the whole picture, and only an attacker would write so many.
    """
    head = octets[: len(PNG) + 16].tobytes()
    if head.startswith(PNG) and len(head) == len(PNG) + 16:
        return struct.unpack(">II", head[-8:])
    if not head.startswith(_JPEG):
        return None
    place, data = len(_JPEG), octets.tobytes()
    if data.count(b"\xff\xda") > _MOST_SCANS:
        return None
    while place + 9 <= len(data):
        if data[place] != 0xFF:
            return None
        kind = data[place + 1]
        if kind in _JPEG_SIZES:
            height, width = struct.unpack_from(">HH", data, place + 5)
            return width, height
        # Padding, and markers without content.
        lone = kind in (0xFF, 0x01) or 0xD0 <= kind <= 0xD8
        place += (1 if kind == 0xFF else 2) if lone else 2 + int.from_bytes(data[place + 2 : place + 4], "big")
    return None


def _holds_its_chunks(octets: np.ndarray) -> bool:
    """False for a png whose end is missing: OpenCV allocates memory for a chunk of any length before it looks for its
    content.
    """
    if octets[: len(PNG)].tobytes() != PNG:
        return True
    begin = len(PNG)
    while begin + _CHUNK_HEAD.size <= octets.size:
        length, kind = _CHUNK_HEAD.unpack_from(octets.data, begin)
        begin += _CHUNK_HEAD.size + length + _CHUNK_CHECK_BYTES
        if kind == b"IEND":
            return begin <= octets.size
    return False


def type_name(picture: np.ndarray) -> str:
    """OpenCV's name of an array's type, such as 8UC3.

    :raises InputError: when no image encoding holds the array's dtype.
    """
    if picture.dtype.name not in _CV_NAMES:
        raise InputError(f"image: no encoding holds elements of type {picture.dtype.name}")
    return f"{_CV_NAMES[picture.dtype.name]}C{1 if picture.ndim < 3 else picture.shape[2]}"


def pixel_layout(encoding: str) -> tuple[np.dtype, int]:
    """Element type and channels of an encoding.

    :raises InputError: for an unknown encoding.
    """
    if encoding in _COLOURS:
        depth, channels, _ = _COLOURS[encoding]
        return _DTYPES[depth], channels
    match = _GENERIC.fullmatch(encoding)
    if match is None:
        raise InputError(f"image: unrecognized encoding [{encoding}]")
    return _DTYPES[match[1]], int(match[2] or 1)


def unpack_message(message: Any) -> np.ndarray:
    """The picture in a ``sensor_msgs/Image``, of rclpy or of a recording. See :func:`unpack_pixels`."""
    return unpack_pixels(
        message.data,
        encoding=message.encoding,
        width=message.width,
        height=message.height,
        step=message.step,
        is_bigendian=bool(message.is_bigendian),
    )


def unpack_pixels(
    data: bytes | np.ndarray, *, encoding: str, width: int, height: int, step: int, is_bigendian: bool
) -> np.ndarray:
    """The picture in a message's fields, in the machine's byte order and without row padding.

    :param data: anything with a buffer of bytes.
    :param step: number of bytes from one row to the next.
    :return: (H, W) for one channel, else (H, W, channels); shares the memory of `data` if possible.
    :raises InputError: for an unknown encoding, a size of zero, a step shorter than a row, or fewer bytes than step *
        height.
    """
    dtype, channels = pixel_layout(encoding)
    row = width * channels * dtype.itemsize
    if height == 0 or width == 0:
        raise InputError(f"image: expected a picture, got {width}x{height} pixels")
    if step < row:
        raise InputError(f"image: expected a step of at least {row} bytes for {width} pixels of {encoding}, got {step}")
    octets = np.frombuffer(data, dtype=np.uint8)
    if len(octets) < step * height:
        raise InputError(f"image: expected {height} rows of {step} bytes, got {len(octets)} bytes")
    rows = octets[: step * height].reshape(height, step)[:, :row]
    ordered = dtype.newbyteorder(">" if is_bigendian else "<")
    picture = np.ascontiguousarray(rows).view(ordered).astype(dtype, copy=False)
    return picture if channels == 1 else picture.reshape(height, width, channels)


def convert_pixels(picture: np.ndarray, source: str, target: str) -> np.ndarray:
    """Change the encoding of a picture.

    Colours become other colours. Depth never becomes a colour: 16UC1 and 32FC1 become each other by a plain cast (so
    millimetres stay millimetres). 8 and 16 bits of one colour mean the same brightness, so 255 and 65535 correspond.

    :raises InputError: for a conversion that makes no sense or an unknown encoding.
    """
    if source == target:
        return picture
    channels = pixel_layout(source)[1]
    target_dtype, target_channels = pixel_layout(target)
    if source in _COLOURS and target in _COLOURS:
        picture = _convert_colour(picture, source, target)
    elif target in _COLOURS:
        raise InputError(f"image: [{source}] is not a color format, so it cannot become [{target}]")
    elif channels != target_channels:
        raise InputError(f"image: [{source}] and [{target}] do not have the same number of channels")
    if picture.dtype == target_dtype:
        return picture
    if target_dtype.kind == "f":
        return picture.astype(target_dtype)
    widths = (picture.dtype.itemsize, target_dtype.itemsize)
    scale = {(1, 2): 257.0, (2, 1): 1.0 / 257.0}.get(widths, 1.0)
    # OpenCV's own rounding and saturation; NaN becomes 0.
    depth = getattr(cv2, f"CV_{_CV_NAMES[target_dtype.name]}")
    return cv2.addWeighted(picture, scale, picture, 0.0, 0.0, dtype=depth)


def _convert_colour(picture: np.ndarray, source: str, target: str) -> np.ndarray:
    source_name, target_name = _COLOURS[source][2], _COLOURS[target][2]
    if source_name == target_name:
        return picture
    kind, _, packing = source_name.partition("_")
    code = getattr(cv2, f"COLOR_{kind}2{target_name}{'_' if packing else ''}{packing}", None)
    if code is None:
        raise InputError(f"image: [{source}] cannot become [{target}]")
    try:
        return cv2.cvtColor(picture, code)
    except cv2.error:  # of two pixels that share their colour, half is missing
        height, width = picture.shape[:2]
        raise InputError(f"image: {width}x{height} pixels of [{source}] cannot become [{target}]") from None
