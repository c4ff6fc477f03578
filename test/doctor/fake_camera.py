"""An RGB-D camera's driver for the live tests: its topics, and what can be wrong with them.

python fake_camera.py good
python fake_camera.py bad     every second stamp is repeated and all are an hour old, the depth is not registered,
                              the intrinsics are of another resolution
"""

import sys
import time

import numpy as np
import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, Image

from stvla_ros.nodes.kit.base import RELIABLE_QOS, set_dds_defaults
from stvla_ros.nodes.kit.messages import array_to_image, make_camera_info, make_header

HZ = 15.0
SIZE = (160, 120)
INTRINSICS = np.array([[150.0, 0, 79.5], [0, 150.0, 59.5], [0, 0, 1]])
FRAME = "camera_color_optical_frame"
HOUR_NS = 3600 * 10**9


class FakeCamera(Node):
    def __init__(self, good: bool) -> None:
        super().__init__("fake_camera")
        self._good, self._sent, self._stamp = good, 0, 0
        self._image = self.create_publisher(Image, "camera/camera/color/image_raw", RELIABLE_QOS)
        self._info = self.create_publisher(CameraInfo, "camera/camera/color/camera_info", RELIABLE_QOS)
        self._depth = self.create_publisher(Image, "camera/camera/aligned_depth_to_color/image_raw", RELIABLE_QOS)
        self._rgb = np.full((SIZE[1], SIZE[0], 3), 90, np.uint8)
        self._metres = np.full((SIZE[1], SIZE[0]), 800, np.uint16)
        self._metres[:20] = 0
        self.create_timer(1.0 / HZ, self._send)

    def _send(self) -> None:
        self._sent += 1
        if self._good or self._sent % 2:
            self._stamp = time.time_ns() - (0 if self._good else HOUR_NS)
        header = make_header(self._stamp, FRAME)
        scale = 1.0 if self._good else 4.0
        self._info.publish(make_camera_info(INTRINSICS * [[scale], [scale], [1.0]], *SIZE, header))
        depth = self._metres if self._good else self._metres[::2, ::2]
        self._depth.publish(array_to_image(depth, "16UC1", header))
        self._rgb[0, 0] = self._sent % 200  # a sensor's noise
        self._image.publish(array_to_image(self._rgb, "rgb8", header))


def main() -> None:
    set_dds_defaults()
    rclpy.init()
    node = FakeCamera("good" in sys.argv)
    try:
        rclpy.spin(node)
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    node.destroy_node()
    rclpy.try_shutdown()


if __name__ == "__main__":
    main()
