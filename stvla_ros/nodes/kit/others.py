"""Who is already in the ROS domain, before a graph is started in it."""

import time
from collections.abc import Iterable

import rclpy
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from stvla_ros.nodes.kit.base import set_dds_defaults
from stvla_ros.nodes.kit.endpoints import UNKNOWN_NAME, shown_node_of

# Whoever lives answers a newcomer within a tenth of it; a killed process is not heard of by one who comes later.
LOOK_S = 1.5
# And further for the names of those who were found, which a busy machine tells late: nothing starts beside them anyway.
_NAMES_S = 5.0
_LOOK_PERIOD_S = 0.1
# Hidden from `ros2 node list`.
_NAME = "_stvla_looks_around"
_ENCLAVE = ["--ros-args", "--enclave", "/operator"]


def find_others(nodes: Iterable[str], topics: Iterable[str], seconds: float = LOOK_S) -> list[str]:
    """
    :param nodes: full names that nobody else may have.
    :param topics: full names of topics on which nobody else may publish.
    :param seconds: longest wait for somebody, not for the names of those who were found.
    :returns: a few words on each who is there; empty when nobody is.
    """
    set_dds_defaults()
    context = rclpy.Context()
    # Where SROS2 is on: with what a person who looks at the graph may do.
    rclpy.init(args=_ENCLAVE, context=context, signal_handler_options=SignalHandlerOptions.NO)
    looking = Node(_NAME, context=context, enable_rosout=False, start_parameter_services=False)
    nodes, topics = sorted(nodes), sorted(topics)
    try:
        ends = time.monotonic() + seconds
        found: list[str] = []
        while time.monotonic() < ends + (_NAMES_S if found else 0.0):
            time.sleep(_LOOK_PERIOD_S)
            before, found = found, _found(looking, nodes, topics)
            # The rest of them is heard of in the same moment, the name of a publisher's node sometimes later.
            if before and not any(UNKNOWN_NAME in each for each in found):
                break
        return found
    finally:
        looking.destroy_node()
        context.try_shutdown()


def _found(looking: Node, nodes: Iterable[str], topics: Iterable[str]) -> list[str]:
    there = {f"{namespace.rstrip('/')}/{name}" for name, namespace in looking.get_node_names_and_namespaces()}
    found = [f"node {name} is there" for name in nodes if name in there]
    for topic in topics:
        if publishers := looking.get_publishers_info_by_topic(topic):
            names = ", ".join(sorted({shown_node_of(each) for each in publishers}))
            found.append(f"topic {topic} is published by {names}")
    return found
