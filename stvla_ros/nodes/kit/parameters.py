"""ROS parameters that several nodes share."""

from typing import Any

from stvla_ros.nodes.kit.base import RELIABLE_QOS, SENSOR_QOS, StvlaNode


def declare_sensor_qos(node: StvlaNode) -> Any:
    """QoS of the camera topics' subscriptions: REP-2003's best effort, or reliable where every frame counts
    (lockstep).
    """
    reliability = node.parameter(
        "sensor_reliability", "best_effort", "QoS of camera topics", choices=("best_effort", "reliable")
    )
    return RELIABLE_QOS if reliability == "reliable" else SENSOR_QOS


def declare_queue_size(node: StvlaNode) -> int:
    return node.parameter("queue_size", 5, "frames that may wait; a full queue drops its oldest", low=1, high=1000)


def declare_join_window(node: StvlaNode) -> int:
    # Longer than any stage's backlog (2 s at 30 Hz): where the wait for a slow partner outlasts the window, nothing
    # ever matches.
    return node.parameter(
        "join_window", 60, "frames of a topic that wait for those with the same stamp", low=1, high=10_000
    )
