"""Fallback for the ROS package `cv_bridge`: sensor_msgs/Image to NumPy arrays and back."""

import sys
from array import array

import numpy as np
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from stvla_ros.errors import InputError
from stvla_ros.recordings.pixels import convert_pixels, pixel_layout, type_name, unpack_message


class CvBridgeError(TypeError):
    """An image message cannot be converted."""


class CvBridge:
    """Converts between sensor_msgs/Image and (height, width[, channels]) arrays."""

    def imgmsg_to_cv2(self, img_msg: Image, desired_encoding: str = "passthrough") -> np.ndarray:
        """The picture of a message as an array in the machine's byte order, row padding removed.

        :param desired_encoding: encoding of the array; 'passthrough' keeps the message's. See `convert_pixels` for the
            others.
        :return: (H, W) for one channel, else (H, W, channels). May share the message's memory.
        :raises CvBridgeError: for an unknown encoding, a size of zero, fewer bytes than step * height, a step shorter
            than a row, or a conversion that makes no sense. (The real package lets some of these through or raises a
            plain TypeError.)
        """
        try:
            picture = unpack_message(img_msg)
            if desired_encoding == "passthrough":
                return picture
            return convert_pixels(picture, img_msg.encoding, desired_encoding)
        except InputError as error:
            raise CvBridgeError(str(error)) from None

    def cv2_to_imgmsg(self, cvim: np.ndarray, encoding: str = "passthrough", header: Header | None = None) -> Image:
        """A message that holds a copy of the picture.

        :param cvim: (H, W) or (H, W, channels).
        :param encoding: encoding of the message; 'passthrough' takes the name of the array's OpenCV type (8UC3, ...).
        :raises CvBridgeError: when the array's type or number of channels does not fit `encoding`, or `encoding` is
            unknown.
        """
        if not isinstance(cvim, np.ndarray):
            raise TypeError(f"expected a NumPy array, got {type(cvim).__name__}")
        try:
            own_type = type_name(cvim)
            fits = encoding == "passthrough" or pixel_layout(encoding) == pixel_layout(own_type)
        except InputError as error:
            raise CvBridgeError(str(error)) from None
        if not fits:
            raise CvBridgeError(f"encoding specified as {encoding}, but image has incompatible type {own_type}")
        message = Image()
        if header is not None:
            message.header = header
        message.height, message.width = cvim.shape[:2]
        message.encoding = own_type if encoding == "passthrough" else encoding
        message.is_bigendian = int(cvim.dtype.byteorder == ">" or (cvim.dtype.isnative and sys.byteorder == "big"))
        message.step = cvim.itemsize * int(np.prod(cvim.shape[1:]))
        # rclpy checks each element of anything but array('B'): 200 ms a picture instead of 0.2.
        data = array("B")
        data.frombytes(np.ascontiguousarray(cvim).data.cast("B"))
        message.data = data
        return message
