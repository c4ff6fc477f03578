"""A camera_info that is sent once, before anybody hears it, and left on the topic."""

import time

import numpy as np
import pytest
import rclpy
from probe import shut_down
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import QoSProfile
from sensor_msgs.msg import CameraInfo

from stvla_ros.nodes.kit.base import LATCHED_QOS, RELIABLE_QOS, SENSOR_QOS, StvlaNode
from stvla_ros.nodes.kit.camera_info import CameraInfoInput, subscribe_to_camera_info
from stvla_ros.nodes.kit.messages import make_camera_info, make_header

K = np.array([[150.0, 0, 79.5], [0, 150.0, 59.5], [0, 0, 1]])


@pytest.mark.parametrize("qos", [LATCHED_QOS, RELIABLE_QOS], ids=["latched", "usual"])
def test_camera_info_is_heard_however_it_is_published(qos: QoSProfile) -> None:
    rclpy.init()
    try:
        driver, node = rclpy.create_node("driver"), StvlaNode("listener")
        publisher = driver.create_publisher(CameraInfo, "camera_info", qos)
        message = make_camera_info(K, 160, 120, make_header(1, "camera"))
        publisher.publish(message)
        heard = CameraInfoInput(node)
        subscribe_to_camera_info(node, heard.take, SENSOR_QOS)
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        end = time.monotonic() + 60.0
        while not heard.known and time.monotonic() < end:
            executor.spin_once(timeout_sec=0.05)
            if qos is RELIABLE_QOS:
                publisher.publish(message)
        assert np.array_equal(heard.intrinsics((160, 120)), K)
        node.end()
    finally:
        shut_down()
