"""Pictures that come raw or compressed, on the topic or beside it."""

import time
from array import array
from collections.abc import Callable, Iterator
from typing import Any

import cv2
import numpy as np
import pytest
import rclpy
from node_bench import bench
from probe import shut_down
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from sensor_msgs.msg import CompressedImage, Image, PointCloud2

from stvla_ros.nodes.kit.base import SENSOR_QOS, StvlaNode
from stvla_ros.nodes.kit.messages import array_to_image, image_to_depth, image_to_rgb, make_header
from stvla_ros.nodes.kit.picture_topics import CameraPictures, PictureSubscriber
from stvla_ros.nodes.perception.depth import DepthNode

RGB = np.random.default_rng(0).integers(0, 256, (12, 16, 3), np.uint8)
MILLIMETRES = np.linspace(700, 900, 12 * 16).reshape(12, 16).astype(np.uint16)


def compressed(picture: np.ndarray, form: str, head: bytes = b"", stamp: int = 1) -> CompressedImage:
    data = head + cv2.imencode(".png", picture)[1].tobytes()
    return CompressedImage(header=make_header(stamp, "camera"), format=form, data=array("B", data))


def colour() -> CompressedImage:
    return compressed(RGB[..., ::-1], "rgb8; png compressed bgr8")


@pytest.fixture
def driver() -> Iterator[Node]:
    """The camera's, in a participant of its own: one does not have two types of a topic."""
    context = rclpy.Context()
    rclpy.init(context=context)
    made = rclpy.create_node("driver", context=context)
    yield made
    made.destroy_node()
    rclpy.shutdown(context=context)


@pytest.fixture
def node() -> Iterator[StvlaNode]:
    rclpy.init()
    made = StvlaNode("viewer")
    yield made
    made.end()
    shut_down()


def until(node: StvlaNode, enough: Callable[[], Any], meanwhile: Callable[[], None] = lambda: None) -> None:
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    end = time.monotonic() + 60.0
    while not enough() and time.monotonic() < end:
        executor.spin_once(timeout_sec=0.05)
        meanwhile()
    assert enough()


@pytest.mark.parametrize(
    "topic, message",
    [("image", array_to_image(RGB, "rgb8", make_header(1, ""))), ("image", colour()), ("image/compressed", colour())],
)
def test_pictures_are_taken_as_they_come(
    node: StvlaNode, driver: Node, topic: str, message: Image | CompressedImage
) -> None:
    taken: list[np.ndarray] = []
    PictureSubscriber(node, CameraPictures(), "image", SENSOR_QOS).registerCallback(
        lambda message: taken.append(image_to_rgb(message, "image"))
    )
    publisher = driver.create_publisher(type(message), topic, 5)
    until(node, lambda: taken, lambda: publisher.publish(message))
    np.testing.assert_array_equal(taken[0], RGB)


@pytest.mark.parametrize(
    "kind, transport, text",
    [
        (
            PointCloud2,
            "auto",
            "PointCloud2, expected sensor_msgs/msg/Image or sensor_msgs/msg/CompressedImage (image_transport auto)",
        ),
        (
            CompressedImage,
            "raw",
            "CompressedImage, expected sensor_msgs/msg/Image (image_transport raw)",
        ),
    ],
)
def test_a_topic_of_another_type_is_told(node: StvlaNode, driver: Node, kind: type, transport: str, text: str) -> None:
    PictureSubscriber(node, CameraPictures(transport), "image", SENSOR_QOS)
    driver.create_publisher(kind, "image", 5)
    until(node, node.stage.recent_error)
    assert node.stage.recent_error() == f"topic image (/image) is a topic of sensor_msgs/msg/{text}"


def test_compressed_depth_is_taken_as_raw_depth_is() -> None:
    with bench(DepthNode) as made:
        made.receive("image", colour())
        made.receive("sensor_depth", compressed(MILLIMETRES, "16UC1; compressedDepth png", bytes(12)))
        (depth,) = made.sent("depth")
    np.testing.assert_allclose(image_to_depth(depth, "depth"), MILLIMETRES * 1e-3, rtol=1e-6)


def test_a_compressed_picture_that_is_none_is_told() -> None:
    with bench(DepthNode) as made:
        told: list[str] = []
        made.node.reject = lambda kind, text: told.append(text)
        made.receive("image", CompressedImage(header=make_header(1, "camera"), format="jpeg", data=array("B", b"no")))
        made.receive("sensor_depth", compressed(MILLIMETRES, "16UC1; compressedDepth png", bytes(12)))
    assert told == ["topic image: expected a jpeg or png, got 2 bytes of 'jpeg'"]
