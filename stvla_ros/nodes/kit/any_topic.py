"""Topics whose types are only known from the graph: finds the types in Python, and a QoS to subscribe with."""

import importlib
import re
from collections.abc import Sequence

from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.topic_endpoint_info import TopicEndpointInfo

from stvla_ros.errors import InputError

_TYPE_NAME = re.compile(r"[a-z][a-z0-9_]*/msg/[A-Z][A-Za-z0-9]*")


def is_hidden(topic: str) -> bool:
    """Topics of actions and tools: a part of the name starts with an underscore."""
    return "/_" in topic


def only_type(topic: str, types: Sequence[str]) -> str:
    """:raises InputError: for a topic of several types."""
    if len(types) != 1:
        raise InputError(f"topic {topic}: expected one message type, its publishers have several: {', '.join(types)}")
    return types[0]


def load_type(topic: str, type_name: str) -> type:
    """
    :param topic: name of the topic, for messages.
    :param type_name: name of the type, such as std_msgs/msg/String.
    :raises InputError: for an invalid name, or a package that is not installed.
    """
    # Any participant of the graph may name types; only valid names are looked for among Python's modules.
    if not _TYPE_NAME.fullmatch(type_name):
        raise InputError(f"topic {topic}: expected a type like std_msgs/msg/String, got {type_name!r}")
    package, _, name = type_name.partition("/msg/")
    try:
        return getattr(importlib.import_module(f"{package}.msg"), name)
    except (ImportError, AttributeError):
        raise InputError(f"topic {topic}: cannot be read without the package {package} ({type_name})") from None


def matching_qos(publishers: Sequence[TopicEndpointInfo], depth: int) -> QoSProfile:
    """A profile that every publisher satisfies, and that asks for as much as all of them offer."""
    profiles = [publisher.qos_profile for publisher in publishers]
    reliable = all(profile.reliability == ReliabilityPolicy.RELIABLE for profile in profiles)
    latched = all(profile.durability == DurabilityPolicy.TRANSIENT_LOCAL for profile in profiles)
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=depth,
        reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
        durability=DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE,
    )
