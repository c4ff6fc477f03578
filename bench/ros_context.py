"""rclpy for benches: restricted to this machine, with the package's Fast DDS profile."""

import os
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def ros_context() -> Iterator[None]:
    """Initialise rclpy as the nodes do, and shut it down."""
    os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    import rclpy

    from stvla_ros.nodes.kit.base import set_dds_defaults

    set_dds_defaults()
    rclpy.init()
    try:
        yield
    finally:
        rclpy.try_shutdown()
