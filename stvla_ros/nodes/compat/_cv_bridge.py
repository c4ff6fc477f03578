"""Fallback for the ROS package `cv_bridge`: sensor_msgs/Image to NumPy arrays and back.

Knows rgb8, bgr8, rgba8, bgra8, mono8, mono16 and OpenCV's own type names (8UC1 ... 64FC4).
"""

import re
import sys
from array import array
from typing import Any

import cv2
import numpy as np
from sensor_msgs.msg import Image
from std_msgs.msg import Header

_DTYPES = {"8U": "uint8", "8S": "int8", "16U": "uint16", "16S": "int16", "32S": "int32", "32F": "float32", "64F": "float64"}
_CV_NAMES = {dtype: name for name, dtype in _DTYPES.items()}
_GENERIC = re.compile("(8U|8S|16U|16S|32S|32F|64F)(?:C([0-9]+))?")

# Encodings that say what the channels mean: (dtype, channels, name in OpenCV's conversion codes).
_COLOURS = {
    "mono8": ("uint8", 1, "GRAY"),
    "mono16": ("uint16", 1, "GRAY"),
    "rgb8": ("uint8", 3, "RGB"),
    "bgr8": ("uint8", 3, "BGR"),
    "rgba8": ("uint8", 4, "RGBA"),
    "bgra8": ("uint8", 4, "BGRA"),
}


class CvBridgeError(TypeError):
    """An image message cannot be converted."""


def _layout(encoding: str) -> tuple[np.dtype, int]:
    if encoding in _COLOURS:
        dtype, channels, _ = _COLOURS[encoding]
        return np.dtype(dtype), channels
    match = _GENERIC.fullmatch(encoding)
    if match is None:
        raise CvBridgeError(f"Unrecognized image encoding [{encoding}]")
    return np.dtype(_DTYPES[match[1]]), int(match[2] or 1)


def _convert(image: np.ndarray, source: str, target: str) -> np.ndarray:
    """Change the encoding: colours to colours; anything else only where the number of channels stays the same."""
    if source == target:
        return image
    target_dtype, target_channels = _layout(target)
    source_channels = _layout(source)[1]
    if source in _COLOURS and target in _COLOURS:
        source_name, target_name = _COLOURS[source][2], _COLOURS[target][2]
        if source_name != target_name:
            image = cv2.cvtColor(image, getattr(cv2, f"COLOR_{source_name}2{target_name}"))
    elif target in _COLOURS:
        raise CvBridgeError(f"[{source}] is not a color format. but [{target}] is. The conversion does not make sense")
    elif source_channels != target_channels:
        raise CvBridgeError(f"[{source}] and [{target}] do not have the same number of channel")
    if image.dtype == target_dtype:
        return image
    widths = (image.dtype.itemsize, target_dtype.itemsize)
    # 8 and 16 bits both mean "black to white", so 255 and 65535 are the same brightness.
    scale = {(1, 2): 257.0, (2, 1): 1.0 / 257.0}.get(widths, 1.0)
    if target_dtype.kind == "f":
        return image.astype(target_dtype)
    # OpenCV's own rounding and saturation; NaN becomes 0.
    return cv2.addWeighted(image, scale, image, 0.0, 0.0, dtype=getattr(cv2, f"CV_{_CV_NAMES[target_dtype.name]}"))


class CvBridge:
    """Converts between sensor_msgs/Image and (height, width[, channels]) arrays."""

    def imgmsg_to_cv2(self, img_msg: Image, desired_encoding: str = "passthrough") -> np.ndarray:
        """The picture of a message as an array in the machine's byte order, row padding removed.

        :param desired_encoding: 'passthrough' keeps the message's; other colour encodings are converted. Depth is not a colour:
            16UC1 and 32FC1 become each other by a plain cast, and never a colour.
        :return: (H, W) for one channel, else (H, W, channels). May share the message's memory.
        :raises CvBridgeError: unknown encoding, zero size, fewer bytes than step * height, a step shorter than a row, or a
            conversion that makes no sense.
        """
        dtype, channels = _layout(img_msg.encoding)
        height, width, step = img_msg.height, img_msg.width, img_msg.step
        row = width * channels * dtype.itemsize
        data = np.frombuffer(img_msg.data, dtype=np.uint8)
        if height == 0 or width == 0:
            raise CvBridgeError(f"Image is wrongly formed: {width}x{height} pixels")
        if step < row:
            raise CvBridgeError(f"Image is wrongly formed: step {step} < {row} bytes of a row of {width} pixels")
        if len(data) < step * height:
            raise CvBridgeError(f"Image is wrongly formed: {len(data)} bytes < height {height} * step {step}")
        rows = data[: step * height].reshape(height, step)[:, :row]
        order = ">" if img_msg.is_bigendian else "<"
        image = np.ascontiguousarray(rows).view(dtype.newbyteorder(order)).astype(dtype, copy=False)
        image = image.reshape(height, width) if channels == 1 else image.reshape(height, width, channels)
        return image if desired_encoding == "passthrough" else _convert(image, img_msg.encoding, desired_encoding)

    def cv2_to_imgmsg(self, cvim: np.ndarray, encoding: str = "passthrough", header: Header | None = None) -> Image:
        """A message that holds a copy of the picture.

        :param cvim: (H, W) or (H, W, channels).
        :param encoding: 'passthrough' names the array's OpenCV type (8UC3, ...).
        :raises CvBridgeError: the array's type or number of channels does not fit `encoding`, or `encoding` is unknown.
        """
        if not isinstance(cvim, np.ndarray):
            raise TypeError(f"expected a NumPy array, got {type(cvim).__name__}")
        channels = 1 if cvim.ndim < 3 else cvim.shape[2]
        if cvim.dtype.name not in _CV_NAMES:
            raise CvBridgeError(f"no image encoding holds {cvim.dtype.name}")
        own_type = f"{_CV_NAMES[cvim.dtype.name]}C{channels}"
        if encoding == "passthrough":
            encoding = own_type
        elif _layout(encoding) != (cvim.dtype.newbyteorder("="), channels):
            raise CvBridgeError(f"encoding specified as {encoding}, but image has incompatible type {own_type}")
        message = Image()
        if header is not None:
            message.header = header
        message.height, message.width = cvim.shape[:2]
        message.encoding = encoding
        message.is_bigendian = _is_big_endian(cvim.dtype)
        message.step = channels * cvim.dtype.itemsize * message.width
        message.data = _bytes_of(cvim)
        return message


def _is_big_endian(dtype: np.dtype) -> int:
    return int(dtype.byteorder == ">" or (dtype.byteorder == "=" and sys.byteorder == "big"))


def _bytes_of(image: np.ndarray) -> Any:
    # rclpy checks each element of anything but array('B'): 200 ms a picture instead of 0.2.
    data = array("B")
    data.frombytes(memoryview(np.ascontiguousarray(image)).cast("B"))
    return data
