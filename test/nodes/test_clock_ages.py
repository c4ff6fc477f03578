"""A node whose clock is ahead, as `stvla doctor` hears it."""

import threading

import pytest
import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from probe import shut_down
from rclpy.executors import SingleThreadedExecutor

from stvla_ros.doctor.listener import listen
from stvla_ros.doctor.records import Wanted
from stvla_ros.nodes.kit.base import RELIABLE_QOS, set_dds_defaults
from stvla_ros.nodes.kit.messages import make_header

AHEAD_S = 30.0


def test_the_smallest_age_of_a_nodes_diagnostics_is_the_difference_of_the_clocks() -> None:
    set_dds_defaults()
    context = rclpy.Context()
    rclpy.init(context=context)
    node = rclpy.create_node("ahead", context=context)
    publisher = node.create_publisher(DiagnosticArray, "/diagnostics", RELIABLE_QOS)

    def publish() -> None:
        stamp = node.get_clock().now().nanoseconds + round(AHEAD_S * 1e9)
        names = ("/left/vla_server", "camera: rate")
        publisher.publish(
            DiagnosticArray(header=make_header(stamp, ""), status=[DiagnosticStatus(name=name) for name in names])
        )

    node.create_timer(0.02, publish)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    spinning = threading.Thread(target=executor.spin, daemon=True)
    spinning.start()
    try:
        heard = listen(Wanted("image", "camera_info", seconds=2.0))
    finally:
        executor.shutdown()
        spinning.join()
        shut_down(context)
    assert list(heard.clock_ages_s) == ["/left/vla_server"]
    assert heard.clock_ages_s["/left/vla_server"] == pytest.approx(-AHEAD_S, abs=5.0)
